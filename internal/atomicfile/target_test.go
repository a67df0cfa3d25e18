//go:build linux || darwin

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFollowsLinks: the file at the end of the links is replaced, the links stay.
func TestFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"a": "b", "b": "disk/file", "disk/up": "../disk/file", "round": "round"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"made through a link that leads nowhere", "replaced"} {
		for _, name := range []string{"a", "disk/up"} {
			if err := WriteFile(filepath.Join(dir, name), []byte(text)); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(disk, "file"))
			if err != nil || string(got) != text {
				t.Errorf("through %s: %q, %v, want %q", name, got, err, text)
			}
		}
	}
	wantNames(t, dir, "a", "b", "disk", "round")
	wantNames(t, disk, "file", "up")
	if err := WriteFile(filepath.Join(dir, "round"), nil); err == nil || !strings.Contains(err.Error(), "lead in a circle") {
		t.Errorf("a circle: %v", err)
	}
}

func TestKeepsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode(), err)
	}
}

// TestPipe: a pipe gets the bytes and stays a pipe. Checking it does not wait for a reader.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if err := Check(path); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		got <- string(text)
	}()
	if err := WriteFile(path, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-got:
		if text != "hello" {
			t.Errorf("the reader got %q", text)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the reader got nothing")
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Errorf("%v (%v), want a pipe", info, err)
	}
}

// TestDevices: null stays what it is, also through a link, and full says that it is.
func TestDevices(t *testing.T) {
	dir := t.TempDir()
	null := device(t, "null", 3)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(null, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{null, link} {
		if err := errors.Join(Check(path), WriteFile(path, []byte("gone"))); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode()&fs.ModeCharDevice == 0 {
			t.Errorf("%s: %v (%v), want a device", path, info.Mode(), err)
		}
	}
	if err := WriteFile(device(t, "full", 7), []byte("x")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("/dev/full: %v, want ENOSPC", err)
	}
}

// device makes a copy of one of Linux's memory devices, which only root can. The system's
// own cannot be replaced by anybody else.
func device(t *testing.T, name string, minor uint32) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := unix.Mknod(path, syscall.S_IFCHR|0o600, int(unix.Mkdev(1, minor))); err == nil {
		return path
	}
	path = filepath.Join("/dev", name)
	if _, err := os.Stat(path); err != nil || os.Getuid() == 0 {
		t.Skip("no device to write to")
	}
	return path
}

// TestStdout: what goes to a file through /dev/stdout stands behind what is there.
func TestStdout(t *testing.T) {
	if _, err := os.Stat("/dev/fd/1"); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := helper(t, "stdout")
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "before\nwritten\nafter\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file, closed := filepath.Join(dir, "file"), filepath.Join(dir, "closed")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o644), os.Mkdir(closed, 0o555)); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		path string
		file string // what Check says behind "write PATH: ", "" for nothing
		dir  string // likewise CheckDir
	}{
		{file, "", ""},
		{filepath.Join(dir, "new"), "", ""},
		{dir, "it is a folder; name a file", ""},
		{filepath.Join(dir, "no", "way", "a"), "there is no folder " + filepath.Join(dir, "no", "way"), ""},
		{filepath.Join(file, "a"), "not a directory", file + " is not a folder"},
	}
	if os.Getuid() != 0 {
		cases = append(cases, struct{ path, file, dir string }{filepath.Join(closed, "a"), "permission denied", "permission denied"})
	}
	for _, c := range cases {
		for _, check := range []struct {
			name string
			of   func(string) error
			want string
		}{{"Check", Check, c.file}, {"CheckDir", CheckDir, c.dir}} {
			got := ""
			if err := check.of(c.path); err != nil {
				got = err.Error()
			}
			want := check.want
			if want != "" {
				want = "write " + c.path + ": " + want
			}
			if got != want {
				t.Errorf("%s(%s): %q, want %q", check.name, c.path, got, want)
			}
		}
	}
	wantNames(t, dir, "closed", "file")
}

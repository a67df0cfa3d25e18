//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helperAct, set in the environment, makes the test binary do something and end;
// helperKill is the kill point at which it kills itself.
const (
	helperAct  = "ATOMICFILE_TEST_ACT"
	helperKill = "ATOMICFILE_TEST_KILL"
)

func TestMain(m *testing.M) {
	act := os.Getenv(helperAct)
	if act == "" {
		os.Exit(m.Run())
	}
	killPoint = func(at string) {
		if at == os.Getenv(helperKill) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Minute)
		}
	}
	if err := actions[act](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// actions are what the helper does, in its working directory.
var actions = map[string]func() error{
	"stdout": func() error {
		fmt.Println("before")
		err := WriteFile("/dev/stdout", []byte("written\n"))
		fmt.Println("after")
		return err
	},
	"file":    func() error { return WriteFile("file", []byte("new")) },
	"link":    func() error { return Symlink("new", "link") },
	"create":  func() error { return newDir((*Dir).Commit) },
	"replace": func() error { return newDir(func(d *Dir) error { return d.Replace(anything) }) },
	"replace without flags": func() error {
		exchange = func(_, _ string) error { return errors.ErrUnsupported }
		renameNew = exchange
		return newDir(func(d *Dir) error { return d.Replace(anything) })
	},
	"lock": func() error {
		if _, err := TakeLock("lock"); err != nil {
			return err
		}
		fmt.Println("held")
		time.Sleep(time.Minute)
		return nil
	},
}

func newDir(publish func(*Dir) error) error {
	d, err := CreateDir("dir")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(d.Path(), "new"), nil, 0o644), publish(d))
}

// helper prepares the test binary to do something.
func helper(t *testing.T, act string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), helperAct+"="+act)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestKilled kills a process in the middle of its work: what has the name is whole, and
// the next one to write there clears away what is left.
func TestKilled(t *testing.T) {
	for _, c := range []struct {
		act, at string
		has     string // what has the name after the kill: old, new or none
		left    int    // hidden names that are left
	}{
		{"file", "rename", "old", 1},
		{"create", "create folder", "none", 1},
		{"replace", "exchange folders", "old", 1},
		{"replace", "remove folder", "new", 1},
		{"replace without flags", "exchange folders", "old", 1},
		{"replace without flags", "between renames", "none", 2},
		{"replace without flags", "remove folder", "new", 1},
	} {
		t.Run(c.act+" at "+c.at, func(t *testing.T) {
			t.Chdir(t.TempDir())
			name := "dir"
			if c.act == "file" {
				name = "file"
				if err := os.WriteFile("file", []byte("old"), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if c.act != "create" {
				if err := errors.Join(os.Mkdir("dir", 0o755), os.WriteFile("dir/old", nil, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			cmd := helper(t, c.act)
			cmd.Env = append(cmd.Env, helperKill+"="+c.at)
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
				t.Fatalf("%v, want that it was killed", err)
			}
			if got := state(t, name); got != c.has {
				t.Errorf("%s is %s, want %s", name, got, c.has)
			}
			if got := Leftovers("."); len(got) != c.left {
				t.Errorf("left over: %v, want %d", got, c.left)
			}
			if c.at == "between renames" { // the old folder gets its name back
				if err := Check("other"); err != nil {
					t.Fatal(err)
				}
				if got := state(t, name); got != "old" {
					t.Errorf("after the next write %s is %s, want old", name, got)
				}
				wantNames(t, ".", name)
			}
			if err := helper(t, c.act).Run(); err != nil {
				t.Fatal(err)
			}
			if got := state(t, name); got != "new" {
				t.Errorf("afterwards %s is %s, want new", name, got)
			}
			wantNames(t, ".", name)
		})
	}
}

// state reads "old" or "new" from a file or the only entry of a folder.
func state(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "none"
	case err != nil:
		t.Fatal(err)
	case info.IsDir():
		return strings.Join(names(t, path), " ")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestLeftovers: what is being written is not swept, nor what others have named.
func TestLeftovers(t *testing.T) {
	t.Chdir(t.TempDir())
	f, err := Create("file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	d, err := CreateDir("dir")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	theirs := []string{".file.tmp", ".notes.2026.tmp", ".file.aaaaaaaaaaaa.tmp", ".file.dn4z03773mx1", "file.dn4z03773mx1.tmp", ".vimrc", ".zzzzzzzzzzzz.tmp"}
	ours := []string{".w8a16.dn4z03773mx1.tmp", ".a.b.dn4z03773mx1.tmp"}
	for name, text := range map[string]string{ // locks: of a killed process, of one at work, and another program's
		".w8a16.lock": "4194305\nhost\n2026-01-02T03:04:05Z\n", ".package.lock": "4194305\n", "w8a16.lock": "4194305\nhost\n2026-01-02T03:04:05Z\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	held, err := TakeLock(".held.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	for _, name := range slices.Concat(theirs, ours) {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("x", ".latest.dn4z03773mx1.tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("x", filepath.Base(temporary("latest", 0))); err != nil { // just now, by another process
		t.Fatal(err)
	}
	want := []string{".a.b.dn4z03773mx1.tmp", ".latest.dn4z03773mx1.tmp", ".w8a16.dn4z03773mx1.tmp", ".w8a16.lock"}
	if got := Leftovers("."); !slices.Equal(got, want) {
		t.Errorf("left over: %v, want %v", got, want)
	}
	before := len(names(t, "."))
	if err := WriteFile("other", nil); err != nil {
		t.Fatal(err)
	}
	if got := len(names(t, ".")); got != before+1-len(want) {
		t.Errorf("%d names are there, want %d: %v", got, before+1-len(want), names(t, "."))
	}
	for _, name := range append(theirs, ".package.lock", "w8a16.lock", ".held.lock") {
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(f.Commit(), d.Commit()); err != nil {
		t.Error(err)
	}
}

// TestLock: a lock is held by one process, and ends with it.
func TestLock(t *testing.T) {
	t.Chdir(t.TempDir())
	cmd := helper(t, "lock")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	var held *LockedError
	if _, err := TakeLock("lock"); !errors.As(err, &held) || held.PID != cmd.Process.Pid {
		t.Errorf("TakeLock: %v, want that process %d has it", err, cmd.Process.Pid)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if held := Holder("lock"); held == nil || held.PID != cmd.Process.Pid || held.Host != host || time.Since(held.Since).Abs() > time.Minute {
		t.Errorf("the holder is %+v, want process %d on %s since a moment", held, cmd.Process.Pid, host)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if held := Holder("lock"); held != nil {
		t.Errorf("the holder is %+v after its end", held)
	}
	l, err := TakeLock("lock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TakeLock("lock"); !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("TakeLock: %v, want that this process has it", err)
	}
	l.Release()
	wantNames(t, ".")
}

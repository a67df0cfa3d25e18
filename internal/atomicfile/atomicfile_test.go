package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteFileReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.bin")
	for _, want := range []string{"first", "second, longer", ""} {
		if err := WriteFile(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, path, want)
	}
}

func TestNothingBeforeCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.bin")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	wantFiles(t, path, "old")
	if _, err := f.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write afterwards: %v, want os.ErrClosed", err)
	}
	if err := f.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("commit afterwards: %v, want os.ErrClosed", err)
	}
}

func TestAbortAfterCommitKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.bin")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	wantFiles(t, path, "new")
}

func TestFailedWriteFailsCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.bin")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.out.Close() // stands for a full disk
	if _, err := f.Write([]byte("x")); err == nil {
		t.Fatal("write to a broken file succeeded")
	}
	if err := f.Commit(); err == nil {
		t.Fatal("commit after a failed write succeeded")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTargetThatCannotBeReplaced(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "taken")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(target, []byte("x")); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if err := WriteFile(filepath.Join(dir, "absent", "a"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent directory: %v, want os.ErrNotExist", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// wantFiles checks that path holds content and that its directory holds nothing else.
func wantFiles(t *testing.T, path, content string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != content {
		t.Errorf("%s holds %q, want %q", path, b, content)
	}
	if all, _ := os.ReadDir(filepath.Dir(path)); len(all) != 1 {
		t.Errorf("files beside the target: %v", all)
	}
}

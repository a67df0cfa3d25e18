package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// fill creates a folder with one file and returns it uncommitted.
func fill(t *testing.T, path, file string) *Dir {
	t.Helper()
	d, err := CreateDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(d.Path(), file), nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestDirReplaces(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "out")
	for _, file := range []string{"first", "second"} {
		if err := fill(t, path, file).Commit(); err != nil {
			t.Fatal(err)
		}
		if got := names(t, path); !slices.Equal(got, []string{file}) {
			t.Errorf("the folder has %v, want %s alone", got, file)
		}
		if got := names(t, parent); !slices.Equal(got, []string{"out"}) {
			t.Errorf("its parent has %v, want out alone", got)
		}
	}
}

func TestDirAbort(t *testing.T) {
	parent := t.TempDir()
	d := fill(t, filepath.Join(parent, "out"), "half")
	d.Abort()
	if got := names(t, parent); len(got) != 0 {
		t.Errorf("the parent has %v, want nothing", got)
	}
	if err := d.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("commit afterwards: %v, want os.ErrClosed", err)
	}
}

func TestDirDoesNotReplaceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := WriteFile(path, []byte("mine")); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateDir(path); err == nil || err.Error() != "write "+path+": it is there and is not a folder" {
		t.Errorf("CreateDir: %v", err)
	}
	wantFiles(t, path, "mine")
}

func TestDirInMissingParent(t *testing.T) {
	if _, err := CreateDir(filepath.Join(t.TempDir(), "no", "out")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("CreateDir: %v, want os.ErrNotExist", err)
	}
}

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
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

func anything(string) error { return nil }

func TestDirReplaces(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "out")
	for _, file := range []string{"first", "second"} {
		if err := fill(t, path, file).Replace(anything); err != nil {
			t.Fatal(err)
		}
		wantNames(t, path, file)
		wantNames(t, parent, "out")
	}
}

// wantNames checks what a folder holds.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("%s has %v, want %v", dir, got, want)
	}
}

// TestDirKeepsWhatAppears: what has the name when the folder is complete stays.
func TestDirKeepsWhatAppears(t *testing.T) {
	withAndWithoutFlags(t, func(t *testing.T) {
		parent := t.TempDir()
		path := filepath.Join(parent, "out")
		d := fill(t, path, "new")
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "thesis"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := d.Commit(); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Commit: %v, want fs.ErrExist", err)
		}
		wantNames(t, path, "thesis")
		wantNames(t, parent, "out")
		if err := os.Remove(filepath.Join(path, "thesis")); err != nil {
			t.Fatal(err)
		}
		if err := fill(t, path, "new").Commit(); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Commit onto an empty folder: %v, want fs.ErrExist", err)
		}
		wantNames(t, path)
	})
}

// withAndWithoutFlags runs a test with the system's renames and with what stands in for them.
func withAndWithoutFlags(t *testing.T, test func(*testing.T)) {
	t.Run("flags", test)
	t.Run("fallback", func(t *testing.T) {
		withoutFlags(t)
		test(t)
	})
}

func withoutFlags(t *testing.T) {
	t.Helper()
	oldNew, oldExchange := renameNew, exchange
	t.Cleanup(func() { renameNew, exchange = oldNew, oldExchange })
	refuse := func(_, _ string) error { return errors.ErrUnsupported }
	renameNew, exchange = refuse, refuse
}

func TestDirReplacesWhatIsOwned(t *testing.T) {
	withAndWithoutFlags(t, func(t *testing.T) {
		parent := t.TempDir()
		path := filepath.Join(parent, "out")
		if err := fill(t, path, "old").Commit(); err != nil {
			t.Fatal(err)
		}
		mine := errors.New("it is mine")
		if err := fill(t, path, "new").Replace(func(dir string) error {
			wantNames(t, dir, "old")
			return mine
		}); !errors.Is(err, mine) {
			t.Errorf("Replace: %v, want %v", err, mine)
		}
		wantNames(t, path, "old")
		wantNames(t, parent, "out")
		if err := fill(t, path, "new").Replace(anything); err != nil {
			t.Fatal(err)
		}
		wantNames(t, path, "new")
		wantNames(t, parent, "out")
	})
}

// TestDirFollowsLink: what a link points to is replaced.
func TestDirFollowsLink(t *testing.T) {
	parent := t.TempDir()
	if err := os.MkdirAll(filepath.Join(parent, "disk", "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink(filepath.Join("disk", "out"), link); err != nil {
		t.Skip(err)
	}
	if err := fill(t, link, "new").Replace(anything); err != nil {
		t.Fatal(err)
	}
	wantNames(t, filepath.Join(parent, "disk", "out"), "new")
	wantNames(t, parent, "disk", "link")
}

// TestDirTwice: of two that write one folder, the second one is told.
func TestDirTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	first := fill(t, path, "first")
	defer first.Abort()
	if tryLock(first.lock) == lockUnknown {
		t.Skip("nothing is locked here")
	}
	if _, err := CreateDir(path); !errors.Is(err, errBusy) {
		t.Errorf("CreateDir: %v, want %v", err, errBusy)
	}
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	fill(t, path, "third").Abort()
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

// TestCheckDirTogether: many find out at once whether a folder can be written, while others
// sweep what looks left behind.
func TestCheckDirTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 50 {
				if err := CheckDir(path); err != nil {
					t.Error(err)
				}
				sweep(filepath.Dir(path))
			}
		})
	}
	work.Wait()
}

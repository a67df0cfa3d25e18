package diskspace

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestFree: a folder that is not there yet has what its nearest folder has, and what is written
// is no longer free.
func TestFree(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/dev/shm is Linux's")
	}
	t.Setenv("TMPDIR", "/dev/shm") // where a file's size is what it takes
	dir := t.TempDir()
	const size = 4 << 20
	if err := os.WriteFile(filepath.Join(dir, "x"), make([]byte, size), 0o644); err != nil {
		t.Skip(err)
	}
	full, ok := Free(filepath.Join(dir, "a", "b"))
	if !ok {
		t.Fatal("Linux does not tell")
	}
	if err := os.Remove(filepath.Join(dir, "x")); err != nil {
		t.Fatal(err)
	}
	if empty, _ := Free(filepath.Join(dir, "a", "b")); empty-full < size/2 { // others write, too
		t.Errorf("%d bytes are free, and %d with a file of %d fewer", full, empty, size)
	}
}

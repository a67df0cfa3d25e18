//go:build unix

package data

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPipe: a pipe is refused, and not waited for.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), path+": it is not a regular file") {
		t.Errorf("%v", err)
	}
}

// TestNothingTemporaryIsLeft: the unpacked copy of a file has no name, so that nothing of
// it is left however the process ends.
func TestNothingTemporaryIsLeft(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "a.jsonl.gz")
	t.Setenv("TMPDIR", dir)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := z.Write([]byte(`{"text": "Good morning."}` + "\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v (%v), want nothing", left, err)
	}
	if row, err := s.At(0); err != nil || row.Text != "Good morning." {
		t.Errorf("%+v, %v", row, err)
	}
}

package filehash

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCached: a hash is computed once, and again when a file is another one by content,
// time or inode; fresh files are not remembered.
func TestCached(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir()) // where macOS looks
	path := filepath.Join(t.TempDir(), "weights")
	old := time.Now().Add(-time.Hour)
	write := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	computed := 0
	hash := func() string {
		t.Helper()
		got, err := Cached("test", []string{path}, func() (string, error) {
			computed++
			text, err := os.ReadFile(path)
			return string(text), err
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, c := range []struct {
		what, text string
		change     func()
		computes   bool
	}{
		{"first", "one", func() { write("one", old) }, true},
		{"unchanged", "one", func() {}, false},
		{"another time", "two", func() { write("two", old.Add(time.Minute)) }, true},
		{"another file of the same size and time", "six", func() {
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
			write("six", old.Add(time.Minute))
		}, true},
		{"other bytes, and the time put back", "ten", func() { write("ten", old.Add(time.Minute)) }, true},
		{"fresh", "now", func() { write("now", time.Now()) }, true},
		{"still fresh", "now", func() {}, true},
	} {
		before := computed
		c.change()
		if got := hash(); got != c.text || (computed > before) != c.computes {
			t.Errorf("%s: got %q, computed %v; want %q, computed %v", c.what, got, computed > before, c.text, c.computes)
		}
	}
}

// TestSum is FIPS 180-2's example.
func TestSum(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path := filepath.Join(t.TempDir(), "abc")
	if err := os.WriteFile(path, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got, err := Sum(path); got != want || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := Sum(path + "x"); err == nil {
		t.Error("a missing file has a sum")
	}
}

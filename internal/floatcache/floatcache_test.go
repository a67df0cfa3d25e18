package floatcache_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/floatcache"
)

// caches are one in memory and one on disk, of so many bytes, and what the latter has failed with.
func caches(t *testing.T, limit int64) (list map[string]*floatcache.Cache, dir string, failed *[]error) {
	t.Helper()
	dir, failed = filepath.Join(t.TempDir(), "kept"), new([]error)
	disk, err := floatcache.OnDisk(dir, limit, func(err error) { *failed = append(*failed, err) })
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*floatcache.Cache{"memory": floatcache.InMemory(limit), "disk": disk}, dir, failed
}

// TestCache: what was put comes back bit by bit, as long as there is room for it; what was
// kept first stays.
func TestCache(t *testing.T) {
	long := make([]float32, 1<<18+5)
	for i := range long {
		long[i] = float32(i) / 3
	}
	list, dir, failed := caches(t, int64(4*len(long)+16))
	for where, c := range list {
		get := func(name string, parts ...[]float32) bool {
			had, err := c.Get(name, parts...)
			if err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			return had
		}
		a, b, all := make([]float32, 3), make([]float32, 1), make([]float32, len(long))
		if get("small", a, b) {
			t.Errorf("%s: there is something before anything was put", where)
		}
		small := []float32{1, 2, 3}
		c.Put("small", small, []float32{4})
		small[0] = 9 // the caller's, who may change it
		c.Put("long", long)
		c.Put("more", b)
		if !get("small", a, b) || !slices.Equal(a, []float32{1, 2, 3}) || b[0] != 4 {
			t.Errorf("%s: found %v, %v", where, a, b)
		}
		a[0] = 8
		if again := make([]float32, 4); !get("small", again) || again[0] != 1 {
			t.Errorf("%s: what was handed out is what is kept: %v", where, again)
		}
		if !get("long", all) || !slices.Equal(all, long) {
			t.Errorf("%s: a long one is lost or changed", where)
		}
		if get("more", b) {
			t.Errorf("%s: keeps more than it may", where)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 || len(*failed) > 0 {
		t.Errorf("%d files, %v, %v; want 2", len(files), err, *failed)
	}
	other, err := floatcache.OnDisk(dir, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if had, err := other.Get("small", make([]float32, 4)); !had || err != nil {
		t.Errorf("another process does not find it: %v, %v", had, err)
	}
}

// TestCacheErrors: a file that is cut short is no floats.
func TestCacheErrors(t *testing.T) {
	list, dir, _ := caches(t, 100)
	c := list["disk"]
	c.Put("x", make([]float32, 3))
	if err := os.Truncate(filepath.Join(dir, "x"), 7); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get("x", make([]float32, 3)); err == nil || !strings.Contains(err.Error(), "x has 7 bytes, want 12") {
		t.Errorf("a file that is cut short: %v", err)
	}
	var none *floatcache.Cache
	none.Put("x", nil)
	if had, err := none.Get("x"); had || err != nil {
		t.Errorf("no cache has %v, %v", had, err)
	}
}

// TestDiskTakesNoMore: a disk that does not take a file ends the keeping, of all processes that
// share the folder, and not the work. What was kept no longer takes room.
func TestDiskTakesNoMore(t *testing.T) {
	for _, next := range []string{"get", "put"} {
		list, dir, failed := caches(t, 1000)
		c := list["disk"]
		var others []error
		other, err := floatcache.OnDisk(dir, 1000, func(err error) { others = append(others, err) })
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 3)
		c.Put("x", x)
		c.Put(strings.Repeat("y", 1000), x) // a name that no file system takes
		c.Put("z", x)
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", dir, err)
		}
		if had, err := c.Get("x", x); had || err != nil {
			t.Errorf("what was removed is found: %v, %v", had, err)
		}
		if len(*failed) != 1 || !strings.Contains((*failed)[0].Error(), "too long") {
			t.Errorf("failed %v, want once, with the reason", *failed)
		}
		if next == "put" {
			other.Put("z", x)
		}
		if had, err := other.Get("x", x); had || err != nil {
			t.Errorf("another process finds what was removed: %v, %v", had, err)
		}
		other.Put("z", x)
		if len(others) != 1 || !strings.Contains(others[0].Error(), "another process could not write") {
			t.Errorf("%s: another process has failed %v, want once", next, others)
		}
	}
}

// TestName: names differ where what they stand for does, however it is put together.
func TestName(t *testing.T) {
	seen := map[string]bool{}
	for _, of := range [][]any{{"a", 1, []int32{1, 2}}, {"a", 1, []int32{1, 3}}, {"a", 11, []int32{2}}, {"b", 1, []int32{1, 2}}, {"a1"}, {"a", 1}} {
		seen[floatcache.Name(of...)] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d names of 6 things", len(seen))
	}
}

package hf_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model/hf"
	"eisft/model/hf/hftest"
)

// writeParts writes a model in parts, which change may alter or remove, and returns the folder.
func writeParts(t *testing.T, whole *hftest.GGUF, parts int, change func(files map[string]*hftest.GGUF)) string {
	t.Helper()
	files := map[string]*hftest.GGUF{}
	for i, w := range whole.Split(parts) {
		files[fmt.Sprintf("m-%05d-of-%05d.gguf", i+1, parts)] = w
	}
	if change != nil {
		change(files)
	}
	dir := t.TempDir()
	for name, w := range files {
		hf.Write(t, filepath.Join(dir, name), string(w.Bytes()))
	}
	return dir
}

// TestGGUFInParts opens a model by each of its parts and by their folder, and finds what the whole file has.
func TestGGUFInParts(t *testing.T) {
	from := testfiles.Golden(t, "hf/qwen3")
	config, err := hf.LoadConfig(from)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := hf.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer hf.CloseFile(t, ck)
	whole := hftest.Convert(t, config, ck, nil)
	dir := writeParts(t, whole, 3, nil)
	hf.Write(t, filepath.Join(dir, "mmproj-m.gguf"), "")
	parts, _ := filepath.Glob(filepath.Join(dir, "m-*.gguf"))
	for _, path := range append(slices.Clone(parts), dir) {
		wantSameConfig(t, path, config)
		got, err := hf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer hf.CloseFile(t, got)
		if !slices.Equal(got.Files(), parts) {
			t.Errorf("files %v, want %v", got.Files(), parts)
		}
		used := map[string]bool{}
		for _, name := range ck.Names() {
			a, errA := got.Tensor(name)
			b, errB := ck.Tensor(name)
			if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
				t.Errorf("%s differs (%v, %v)", name, errA, errB)
			}
			used[got.FileOf(name)] = true
		}
		if files := slices.Sorted(maps.Keys(used)); !slices.Equal(files, parts) || len(got.Names()) != len(ck.Names()) {
			t.Errorf("%d tensors in %v, want %d in %v", len(got.Names()), files, len(ck.Names()), parts)
		}
	}
}

func TestGGUFInPartsErrors(t *testing.T) {
	whole := &hftest.GGUF{}
	whole.Put("general.architecture", "llama")
	for _, name := range []string{"a", "b", "c"} {
		whole.Tensor(name, 0, []int{8}, make([]byte, 32))
	}
	const one, two, three = "m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"
	rename := func(from, to string) func(map[string]*hftest.GGUF) {
		return func(files map[string]*hftest.GGUF) { files[to] = files[from]; delete(files, from) }
	}
	for name, tc := range map[string]struct {
		open   string
		change func(files map[string]*hftest.GGUF)
		want   string
	}{
		"missing":      {one, func(f map[string]*hftest.GGUF) { delete(f, three) }, "DIR: the parts' numbering names 3 files, of which 1 is not there: " + three + "; download what is missing into the folder"},
		"last alone":   {"", func(f map[string]*hftest.GGUF) { delete(f, one); delete(f, two) }, "DIR: the parts' numbering names 3 files, of which 2 are not there: " + one + ", " + two + "; download"},
		"renamed":      {"m.gguf", rename(two, "m.gguf"), "DIR/m.gguf: found one of 3 parts of a model (split.count), want a name that ends with -00001-of-00003.gguf"},
		"other count":  {"m-00002-of-00004.gguf", rename(two, "m-00002-of-00004.gguf"), "DIR/m-00002-of-00004.gguf: found part 2 of 4 by its name, but one of 3 by its metadata (split.count)"},
		"no such part": {"m-00000-of-00003.gguf", rename(two, "m-00000-of-00003.gguf"), "DIR/m-00000-of-00003.gguf: found part 0 of 3 by its name"},
		"changed places": {
			one, func(f map[string]*hftest.GGUF) { f[two], f[three] = f[three], f[two] },
			"DIR/" + two + ": metadata split.no and split.count: found 2 and 3, want 1 and 3 by its name",
		},
		"twice":        {one, func(f map[string]*hftest.GGUF) { f[three] = f[two] }, "DIR/" + three + ": metadata split.no and split.count: found 1 and 3, want 2 and 3"},
		"a whole file": {one, func(f map[string]*hftest.GGUF) { f[three] = whole }, "DIR/" + three + ": metadata split.no and split.count: found nothing and nothing, want 2 and 3"},
		"tensor twice": {
			three, func(f map[string]*hftest.GGUF) { f[three].Tensor("b", 0, []int{8}, make([]byte, 32)) },
			"DIR/" + three + ": tensor b is in DIR/" + two + ", too: these are parts of two models",
		},
		"other model": {
			two, func(f map[string]*hftest.GGUF) { f[two].Put("general.architecture", "qwen2") },
			"DIR/" + two + ": metadata general.architecture: found another value than in DIR/" + one,
		},
		"tensors": {
			two, func(f map[string]*hftest.GGUF) { f[two].Tensor("d", 0, []int{8}, make([]byte, 32)) },
			"DIR/" + one + ": metadata split.tensors.count: found 3, but the files hold 4 tensors; download them again",
		},
		"damaged": {one, func(f map[string]*hftest.GGUF) { f[two].Tensor("d", 99, []int{8}, make([]byte, 32)) }, "DIR/" + two + ": tensor d: found ggml type 99"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeParts(t, whole, 3, tc.change)
			path := filepath.Join(dir, tc.open)
			if _, err := hf.Open(path); err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), dir, "DIR"), tc.want) {
				t.Errorf("error %v\nwant  %s", err, tc.want)
			}
		})
	}
	t.Run("no folder", func(t *testing.T) {
		dir := writeParts(t, whole, 3, nil)
		if err := os.Remove(filepath.Join(dir, one)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, one), 0o750); err != nil {
			t.Fatal(err)
		}
		_, err := hf.Open(filepath.Join(dir, two))
		hf.WantError(t, err, filepath.Join(dir, one)+": found a directory, want a regular file")
	})
}

package hf

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
)

// ggufPart is what llama-gguf-split calls the parts of a model: NAME-00001-of-00003.gguf.
var ggufPart = regexp.MustCompile(`(?i)^(.*)-(\d{5})-of-(\d{5})(\.gguf)$`)

// A part's metadata say which it is, from 0 on, of how many, and how many tensors all have.
const splitNumber, splitCount, splitTensors = "split.no", "split.count", "split.tensors.count"

// ggufFile is a mapped file: a whole model or a part of one.
type ggufFile struct {
	path     string
	metadata map[string]any
	tensors  map[string]Tensor
	unmap    func() error
}

func openGGUFFile(path string) (*ggufFile, error) {
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("open GGUF: %w", err)
	}
	f := &ggufFile{path: path, unmap: unmap}
	if f.metadata, f.tensors, err = parseGGUF(data); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), unmap())
	}
	return f, nil
}

// openGGUFFiles opens the file, and if it is a part of a model the other parts too, in their order.
// What was opened is returned whatever the error.
func openGGUFFiles(path string) ([]*ggufFile, error) {
	one, err := openGGUFFile(path)
	if err != nil {
		return nil, err
	}
	opened := []*ggufFile{one}
	if one.parts() < 2 {
		return opened, nil
	}
	names, number, err := one.partNames()
	if err != nil {
		return opened, err
	}
	files := make([]*ggufFile, len(names))
	files[number] = one
	for i, name := range names {
		if i != number {
			if files[i], err = openGGUFFile(filepath.Join(filepath.Dir(path), name)); err != nil {
				return opened, err
			}
			opened = append(opened, files[i])
		}
		if err := files[i].isPart(i, len(names)); err != nil {
			return opened, err
		}
	}
	return files, nil
}

// parts returns of how many parts the file is one; 0 or 1 if it is whole.
func (f *ggufFile) parts() int64 {
	n, _ := f.metadata[splitCount].(int64)
	return n
}

// partNames returns the names of all parts by that of one, and which of them it is, from 0 on.
func (f *ggufFile) partNames() (names []string, number int, err error) {
	dir, name := filepath.Split(f.path)
	m := ggufPart.FindStringSubmatch(name)
	if m == nil {
		return nil, 0, fmt.Errorf("%s: found one of %d parts of a model (%s), want a name that ends with -00001-of-%05d.gguf, by which the others are found; give all parts the names that they had", f.path, f.parts(), splitCount, f.parts())
	}
	number, _ = strconv.Atoi(m[2]) // five digits
	count, _ := strconv.Atoi(m[3])
	if int64(count) != f.parts() || number < 1 || number > count {
		return nil, 0, fmt.Errorf("%s: found part %d of %d by its name, but one of %d by its metadata (%s); give all parts the names that they had", f.path, number, count, f.parts(), splitCount)
	}
	for i := range count {
		names = append(names, fmt.Sprintf("%s-%05d-of-%s%s", m[1], i+1, m[3], m[4]))
	}
	return names, number - 1, complete(filepath.Clean(dir), names, "the parts' numbering names")
}

// isPart refuses a file that is not the part that its name says.
func (f *ggufFile) isPart(number, count int) error {
	if got, ok := f.metadata[splitNumber].(int64); !ok || got != int64(number) || f.parts() != int64(count) {
		return fmt.Errorf("%s: metadata %s and %s: found %v and %v, want %d and %d by its name; give all parts the names that they had, or download this one again",
			f.path, splitNumber, splitCount, orNothing(f.metadata[splitNumber]), orNothing(f.metadata[splitCount]), number, count)
	}
	return nil
}

func orNothing(v any) any {
	if v == nil {
		return "nothing"
	}
	return v
}

// join adds the metadata and tensors of a file to those of the files before it.
func (g *GGUF) join(f *ggufFile) error {
	for _, key := range slices.Sorted(maps.Keys(f.metadata)) {
		value := f.metadata[key]
		if before, ok := g.Metadata[key]; ok && key != splitNumber && !reflect.DeepEqual(before, value) {
			return fmt.Errorf("%s: metadata %s: found another value than in %s: these are parts of two models; download them again", f.path, key, g.path)
		} else if !ok {
			g.Metadata[key] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.tensors)) {
		if before, twice := g.files[name]; twice {
			return fmt.Errorf("%s: tensor %s is in %s, too: these are parts of two models; download them again", f.path, name, before)
		}
		g.tensors[name], g.files[name] = f.tensors[name], f.path
	}
	return nil
}

// checkCount compares the number of tensors with what the parts of a model say.
func (g *GGUF) checkCount() error {
	if want, ok := g.Metadata[splitTensors].(int64); ok && want != int64(len(g.tensors)) {
		return fmt.Errorf("%s: metadata %s: found %d, but the files hold %d tensors; download them again", g.path, splitTensors, want, len(g.tensors))
	}
	return nil
}

// wholeModels keeps one file of the parts of a model.
func wholeModels(files []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(files, func(path string) bool {
		m := ggufPart.FindStringSubmatch(path)
		if m == nil {
			return false
		}
		model := m[1] + m[3]
		defer func() { seen[model] = true }()
		return seen[model]
	})
}

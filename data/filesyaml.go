package data

import (
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"eisft/internal/strictyaml"
)

// CheckFiles checks what stands in a YAML file where [Files] are wanted: a path, or a list of
// paths and sections.
func CheckFiles(d *strictyaml.Document, n ast.Node, path string) {
	list, ok := n.(*ast.SequenceNode)
	switch _, section := n.(ast.MapNode); {
	case section:
		d.Problem(path, "must be a path, or a list of paths and sections, not a section of keys; put - in front of it")
		return
	case !ok:
		d.Check(n, reflect.TypeFor[string](), path)
		return
	}
	for i, v := range list.Values {
		t := reflect.TypeFor[string]()
		if _, section := v.(ast.MapNode); section {
			t = reflect.TypeFor[File]()
		}
		d.Check(v, t, fmt.Sprintf("%s[%d]", path, i))
	}
}

// Check reports what no data set can have: an entry without a path, a weight that is none, a
// form of rows that there is not. path is the key of the files. Of rows that are not drawn but
// all read, drawn is false, and no entry may have a weight.
func (f Files) Check(d *strictyaml.Document, path string, drawn bool) {
	for i, file := range f {
		entry := fmt.Sprintf("%s[%d]", path, i)
		if file.Path == "" {
			d.Problem(strictyaml.Join(entry, "path"), "is missing, but it is required")
		}
		weight := strictyaml.Join(entry, "weight")
		switch {
		case d.Has(weight) && !drawn:
			d.Problem(weight, "is for data.train, whose rows are drawn; of these every row is read once, in order: leave it out")
		case d.Has(weight) && file.Weight == 0: // 0 stands for an entry without one
			d.Problem(weight, "is 0: nothing would be drawn of the entry, whose rows would be read and checked all the same; leave the entry out, or give it more than 0")
		case !(file.Weight >= 0) || math.IsInf(file.Weight, 0): // not a number, too
			d.Problem(weight, "is %v; it must be more than 0", file.Weight)
		}
		if file.Format != "" {
			strictyaml.OneOf(d, strictyaml.Join(entry, "format"), file.Format, Formats())
		}
	}
}

// Rebased are the files with abs(key, path) in place of each path; key is that of the entry's
// path in a file where the files stand at a key.
func (f Files) Rebased(key string, abs func(key, path string) (string, error)) (_ Files, err error) {
	f = slices.Clone(f)
	for i := range f {
		if f[i].Path, err = abs(fmt.Sprintf("%s[%d].path", key, i), f[i].Path); err != nil {
			return nil, err
		}
	}
	return f, nil
}

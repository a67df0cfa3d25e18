package config

import (
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml/ast"

	"eisft/data"
)

// checkFiles checks what data.train may be: a path, or a list of paths and sections.
func (d *document) checkFiles(n ast.Node, path string) {
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
			t = reflect.TypeFor[data.File]()
		}
		d.Check(v, t, fmt.Sprintf("%s[%d]", path, i))
	}
}

// checkShare checks a share of a whole.
func (d *document) checkShare(n ast.Node, path string) {
	if _, section := n.(ast.MapNode); section || n.Type() == ast.SequenceType {
		d.Check(n, reflect.TypeFor[string](), path)
		return
	}
	if _, err := data.ParseShare(n.GetToken().Value); err != nil {
		d.Problem(path, "is %v", err)
	}
}

// validateFiles reports files that cannot be read, and weights that are none.
func (d *document) validateFiles(files data.Files) {
	if len(files) == 0 {
		d.Required("data.train", "")
	}
	for i, f := range files { // 0 stands for an entry without one
		if path := fmt.Sprintf("data.train[%d].weight", i); f.Weight == 0 && d.Has(path) {
			d.Problem(path, "is 0; it must be more than 0: leave the entry out, if nothing is to be drawn of it")
		}
	}
	files.Check(func(entry int, key, message string) {
		path := fmt.Sprintf("data.train[%d]", entry)
		switch {
		case d.Has(path):
			path += "." + key
		case key == "path": // it stands alone
			path = "data.train"
		}
		d.Problem(path, "%s", message)
	})
}

package config

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"

	"eisft/data"
)

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

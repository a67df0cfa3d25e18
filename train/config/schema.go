package config

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"

	"eisft/data"
	"eisft/internal/strictyaml"
	"eisft/model"
)

// document is a configuration's file, with the rules of its own types.
type document struct{ *strictyaml.Document }

func newDocument(file string) *document {
	d := &document{strictyaml.New(file)}
	d.Special = d.special
	return d
}

// special checks what the struct of a section does not say: stages have the keys of their
// kind, rates those of parameter groups, a chat template's options any, and files and shares
// are written in more than one way.
func (d *document) special(n ast.Node, t reflect.Type, path string) bool {
	m, isMap := n.(ast.MapNode)
	switch {
	case t.Kind() == reflect.Interface:
		d.checkStage(n, path)
	case t == reflect.TypeFor[data.Files]():
		data.CheckFiles(d.Document, n, path)
	case t == reflect.TypeFor[data.Share]():
		d.checkShare(n, path)
	case t == reflect.TypeFor[TemplateOptions]() && isMap:
		d.CheckFields(m, path, func(_ string, value ast.Node) (reflect.Type, string) {
			if value.Type() == ast.NullType {
				return nil, strictyaml.NoValue
			}
			return nil, ""
		})
	case t == reflect.TypeFor[Rates]() && isMap:
		types, names := map[string]reflect.Type{}, []string{}
		for _, g := range model.Groups {
			types[string(g)], names = t.Elem(), append(names, string(g))
		}
		d.CheckFields(m, path, func(key string, _ ast.Node) (reflect.Type, string) {
			return types[key], "is not a known key; " + strictyaml.Hint(key, names)
		})
	default:
		return false
	}
	return true
}

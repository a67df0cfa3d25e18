package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"eisft/internal/nearest"
	"eisft/model"
)

// document is a YAML file on its way to a Config. It remembers where every key
// stands and collects what is wrong, so that one run reports all of it.
//
// The decoder alone is not enough: even in its strict mode it takes 1.5 for the
// integer 1, null for "leave as it is", and names neither the key's path nor
// the key that was meant.
type document struct {
	file     string
	lines    map[string]int // key path -> line
	problems []error
}

// problem adds one error about the key at path; the format goes on after the
// key's name, as in "must be a list".
func (d *document) problem(path, format string, args ...any) {
	at, subject := d.file, path
	if line := d.line(path); line > 0 {
		at = fmt.Sprintf("%s:%d", d.file, line)
	}
	if path == "" {
		subject = "the file"
	}
	d.problems = append(d.problems, fmt.Errorf("%s: %s %s", at, subject, fmt.Sprintf(format, args...)))
}

// line returns where the key at path stands, or the nearest section around it;
// 0 if the file has neither.
func (d *document) line(path string) int {
	for path != "" {
		if line, ok := d.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

func (d *document) err() error { return errors.Join(d.problems...) }

// noValue is what is wrong with a key that stands alone.
const noValue = "has no value; give one or remove the key"

// check compares a node with the type that it is to be decoded into.
func (d *document) check(n ast.Node, t reflect.Type, path string) {
	if path != "" {
		d.lines[path] = n.GetToken().Position.Line
	}
	if _, ok := n.(*ast.NullNode); ok {
		d.problem(path, noValue)
		return
	}
	switch t.Kind() {
	case reflect.Interface:
		d.checkStage(n, path)
	case reflect.Struct, reflect.Map:
		d.checkMapping(n, t, path)
	case reflect.Slice, reflect.Array:
		d.checkList(n, t, path)
	default:
		d.checkScalar(n, t, path)
	}
}

func (d *document) checkMapping(n ast.Node, t reflect.Type, path string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.problem(path, "must be a section of keys, not %s", describe(n))
		return
	}
	if t == reflect.TypeFor[TemplateOptions]() { // keys and values are the template's
		d.checkFields(m, path, func(_ string, value ast.Node) (reflect.Type, string) {
			if value.Type() == ast.NullType {
				return nil, noValue
			}
			return nil, ""
		})
		return
	}
	if t == reflect.TypeFor[map[string]string]() { // the keys are the user's own
		d.checkFields(m, path, func(string, ast.Node) (reflect.Type, string) { return t.Elem(), "" })
		return
	}
	fields, names := keys(t)
	d.checkFields(m, path, func(key string, _ ast.Node) (reflect.Type, string) {
		return fields[key], "is not a known key; " + hint(key, names)
	})
}

// checkFields checks the values of a section's keys. field returns the type of a key's
// value, or of a key that has none (nil) what is wrong; "" if it is to be passed over.
func (d *document) checkFields(m ast.MapNode, path string, field func(key string, value ast.Node) (reflect.Type, string)) {
	for it := m.MapRange(); it.Next(); {
		key := it.Key().GetToken()
		child := join(path, key.Value)
		d.lines[child] = key.Position.Line
		t, wrong := field(key.Value, it.Value())
		if t == nil {
			if wrong != "" {
				d.problem(child, "%s", wrong)
			}
			continue
		}
		d.check(it.Value(), t, child)
		d.lines[child] = key.Position.Line
	}
}

func (d *document) checkList(n ast.Node, t reflect.Type, path string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problem(path, "must be a list, not %s", describe(n))
		return
	}
	if t.Kind() == reflect.Array && len(s.Values) != t.Len() {
		d.problem(path, "must be a list of %d, not of %d", t.Len(), len(s.Values))
		return
	}
	for i, v := range s.Values {
		d.check(v, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (d *document) checkScalar(n ast.Node, t reflect.Type, path string) {
	want, ok := "", false
	switch t.Kind() {
	case reflect.Bool:
		want, ok = "true or false", n.Type() == ast.BoolType
	case reflect.Int, reflect.Int64:
		want, ok = "a whole number", n.Type() == ast.IntegerType
	case reflect.Float64:
		want, ok = "a number", isNumber(n)
	case reflect.String:
		want, ok = "text", n.Type() == ast.StringType || n.Type() == ast.LiteralType
	}
	if !ok {
		d.problem(path, "must be %s, not %s", want, describe(n))
	}
}

// isNumber accepts finite numbers, also in the form 1e-2, which the parser
// hands over as text.
func isNumber(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return true
	case *ast.StringNode:
		v, err := strconv.ParseFloat(n.Value, 64)
		return err == nil && n.Token.Type == token.StringType && !math.IsInf(v, 0) && !math.IsNaN(v)
	default:
		return false
	}
}

func describe(n ast.Node) string {
	switch n := n.(type) {
	case ast.MapNode:
		return "a section of keys"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return fmt.Sprintf("%q", n.Value)
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "an anchor, alias or tag, which configs do not use"
	default:
		return n.String()
	}
}

// keys returns the keys of a section and their types, and their names in the
// order of the declaration.
func keys(t reflect.Type) (map[string]reflect.Type, []string) {
	types, names := map[string]reflect.Type{}, []string{}
	if t.Kind() == reflect.Map {
		for _, g := range model.Groups {
			types[string(g)], names = t.Elem(), append(names, string(g))
		}
		return types, names
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if options == "inline" {
			inner, innerNames := keys(f.Type)
			for k, v := range inner {
				types[k] = v
			}
			names = append(names, innerNames...)
			continue
		}
		types[name], names = f.Type, append(names, name)
	}
	return types, names
}

// hint names the known word that looks most like an unknown one, or all of them
// if none does.
func hint(word string, known []string) string {
	if best := nearest.Name(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(known, ", ")
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Package strictyaml reads YAML files that people write: what a key may hold follows from the
// struct that the file is decoded into, and every problem is reported with file, line and
// key path.
//
// The decoder alone is not enough: even in its strict mode it takes 1.5 for the integer 1,
// null for "leave as it is", and names neither the key's path nor the key that was meant.
package strictyaml

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"eisft/internal/enum"
	"eisft/internal/nearest"
)

// MaxSize bounds a file in bytes: the YAML parser's memory grows with the square of the
// nesting.
const MaxSize = 16 << 10

// Document is a YAML file on its way to a struct. It remembers where every key stands and
// collects what is wrong, so that one run reports all of it.
type Document struct {
	File string
	// Special, if not nil, checks nodes of types that have rules of their own, and says
	// whether it did.
	Special  func(n ast.Node, t reflect.Type, path string) bool
	lines    map[string]int    // key path -> line
	flags    map[string]string // key path -> the flag that gives its value
	quotes   map[string]string // key path -> what to add where a section was given for a text
	problems []error
}

// Override says that a flag gives a key its value: problems of the key are then the flag's.
func (d *Document) Override(path, flag string) {
	if d.flags == nil {
		d.flags = map[string]string{}
	}
	d.flags[path] = flag
}

// New returns a document that stands in a file.
func New(file string) *Document {
	return &Document{File: file, lines: map[string]int{}, quotes: map[string]string{}}
}

// Parse returns the root of the file's only YAML document.
func (d *Document) Parse(text []byte) (ast.Node, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%s: more than %d bytes", d.File, MaxSize)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, d.SyntaxError(err)
	}
	if len(file.Docs) > 1 {
		return nil, fmt.Errorf("%s: want one YAML document, found %d", d.File, len(file.Docs))
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, fmt.Errorf("%s: the file is empty", d.File)
	}
	return file.Docs[0].Body, nil
}

// SyntaxError puts an error of the YAML library into the form of all others.
func (d *Document) SyntaxError(err error) error {
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", d.File, located.GetToken().Position.Line, located.GetMessage())
	}
	return fmt.Errorf("%s: %w", d.File, err)
}

// Problem adds one error about the key at path; the format goes on after the
// key's name, as in "must be a list".
func (d *Document) Problem(path, format string, args ...any) {
	at, subject := d.File, path
	if line := d.line(path); line > 0 {
		at = fmt.Sprintf("%s:%d", d.File, line)
	}
	if path == "" {
		subject = "the file"
	}
	if key, rest := d.overridden(path); key != "" {
		at, subject = "", d.flags[key]+rest
	}
	if at != "" {
		at += ": "
	}
	d.problems = append(d.problems, fmt.Errorf("%s%s %s", at, subject, fmt.Sprintf(format, args...)))
}

// overridden returns the key of path, or around it, whose value a flag gives, and what of
// path comes after the key.
func (d *Document) overridden(path string) (key, rest string) {
	for key := range d.flags {
		if rest, ok := strings.CutPrefix(path, key); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return key, rest
		}
	}
	return "", ""
}

// line returns where the key at path stands, or the nearest section around it;
// 0 if the file has neither.
func (d *Document) line(path string) int {
	for path != "" {
		if line, ok := d.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

// Err returns all problems, nil if there is none.
func (d *Document) Err() error { return errors.Join(d.problems...) }

// NoValue is what is wrong with a key that stands alone.
const NoValue = "has no value; give one or remove the key"

// Check compares a node with the type that it is to be decoded into, and says whether
// nothing is wrong.
func (d *Document) Check(n ast.Node, t reflect.Type, path string) bool {
	before := len(d.problems)
	if path != "" {
		d.lines[path] = n.GetToken().Position.Line
	}
	switch _, null := n.(*ast.NullNode); {
	case null:
		d.Problem(path, NoValue)
	case d.Special != nil && d.Special(n, t, path):
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		d.checkMapping(n, t, path)
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		d.checkList(n, t, path)
	default:
		d.checkScalar(n, t, path)
	}
	return len(d.problems) == before
}

// Has says whether the file has the key at path, or a flag gives it.
func (d *Document) Has(path string) bool { return d.lines[path] > 0 || d.flags[path] != "" }

// Written are the paths of all keys, and of what lists hold, to which the file or a flag gives a value.
func (d *Document) Written() map[string]bool {
	all := map[string]bool{}
	for path := range d.lines {
		all[path] = true
	}
	for path := range d.flags {
		all[path] = true
	}
	return all
}

func (d *Document) checkMapping(n ast.Node, t reflect.Type, path string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.Problem(path, "must be a section of keys, not %s", Describe(n))
		return
	}
	if t == reflect.TypeFor[map[string]string]() { // the keys are the user's own
		d.CheckFields(m, path, func(string, ast.Node) (reflect.Type, string) { return t.Elem(), "" })
		return
	}
	fields, names := Keys(t)
	d.CheckFields(m, path, func(key string, _ ast.Node) (reflect.Type, string) {
		return fields[key], "is not a known key; " + Hint(key, names)
	})
}

// CheckFields checks the values of a section's keys. field returns the type of a key's
// value, or of a key that has none (nil) what is wrong; "" if it is to be passed over.
func (d *Document) CheckFields(m ast.MapNode, path string, field func(key string, value ast.Node) (reflect.Type, string)) {
	for it := m.MapRange(); it.Next(); {
		key := it.Key().GetToken()
		child := Join(path, key.Value)
		d.lines[child] = key.Position.Line
		t, wrong := field(key.Value, it.Value())
		if t == nil {
			if wrong != "" {
				d.Problem(child, "%s", wrong)
			}
			continue
		}
		d.Check(it.Value(), t, child)
		d.lines[child] = key.Position.Line
	}
}

func (d *Document) checkList(n ast.Node, t reflect.Type, path string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.Problem(path, "must be a list, not %s", Describe(n))
		return
	}
	if t.Kind() == reflect.Array && len(s.Values) != t.Len() {
		d.Problem(path, "must be a list of %d, not of %d", t.Len(), len(s.Values))
		return
	}
	for i, v := range s.Values {
		d.Check(v, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (d *Document) checkScalar(n ast.Node, t reflect.Type, path string) {
	want, ok := "", false
	switch t.Kind() {
	case reflect.Bool:
		want, ok = "true or false", n.Type() == ast.BoolType
	case reflect.Int, reflect.Int64:
		want, ok = "a whole number", n.Type() == ast.IntegerType
	case reflect.Float32, reflect.Float64:
		want, ok = "a number", isNumber(n)
	case reflect.String:
		want, ok = "text", n.Type() == ast.StringType || n.Type() == ast.LiteralType
	}
	if !ok {
		hint := ""
		if t.Kind() == reflect.String {
			hint = d.quotes[path]
		}
		d.Problem(path, "must be %s, not %s%s", want, Describe(n), hint)
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

// Describe says in a message what a node is.
func Describe(n ast.Node) string {
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

// Keys returns the keys of a section and their types, and their names in the
// order of the declaration.
func Keys(t reflect.Type) (map[string]reflect.Type, []string) {
	types, names := map[string]reflect.Type{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" { // no key
			continue
		}
		if options == "inline" {
			inner, innerNames := Keys(f.Type)
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

// Hint names the known word that looks most like an unknown one, or all of them
// if none does.
func Hint(word string, known []string) string {
	if best := nearest.Name(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(known, ", ")
}

// Join returns the path of a key in the section at path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Required reports a key without its value.
func (d *Document) Required(path, value string) {
	if value == "" {
		d.Problem(path, "is missing, but it is required")
	}
}

// AtLeast reports a count outside [least,MaxCount].
func (d *Document) AtLeast(path string, v, least int) {
	d.Within(path, v, least, MaxCount)
}

// MaxCount bounds what is counted: tokens, samples, steps. Nobody has more, and sums and
// products of a few of them are far from what an int holds.
const MaxCount = 1_000_000_000

// Within reports a whole number outside [least,most].
func (d *Document) Within(path string, v, least, most int) {
	if v < least {
		d.Problem(path, "is %d; it must be at least %d", v, least)
	}
	d.AtMost(path, v, most)
}

// AtMost reports a whole number above most.
func (d *Document) AtMost(path string, v, most int) {
	if v > most {
		d.Problem(path, "is %d; it must be at most %d", v, most)
	}
}

// Between reports a number outside [lo,hi].
func (d *Document) Between(path string, v, lo, hi float64) {
	if v < lo || v > hi {
		d.Problem(path, "is %v; it must be from %v to %v", v, lo, hi)
	}
}

// NotNegative reports a number below 0.
func (d *Document) NotNegative(path string, v float64) {
	if v < 0 {
		d.Problem(path, "is %v; it must not be negative", v)
	}
}

// OneOf reports a word that is not one of the allowed ones.
func OneOf[T ~string](d *Document, path string, v T, allowed []T) bool {
	if slices.Contains(allowed, v) {
		return true
	}
	d.Problem(path, "%s", enum.Mismatch(v, allowed))
	return false
}

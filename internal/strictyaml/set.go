package strictyaml

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Setting gives the key at a path its value, in place of what a file says or beside it.
type Setting struct {
	Path  string // stages[0].lr.gate, also written stages.0.lr.gate
	Value string // in YAML
	Flag  string // that gives it, for messages: "--set"
}

// ParseSetting reads KEY=VALUE.
func ParseSetting(text, flag string) (Setting, error) {
	key, value, ok := strings.Cut(text, "=")
	key = strings.TrimSpace(key)
	if !ok || key == "" {
		return Setting{}, errors.New("want KEY=VALUE, such as stages.0.lr.gate=1e-2")
	}
	for _, step := range steps(key) {
		if step == "" || strings.ContainsAny(step, " \t\n:#{}[],\"'&*!|>%@`") {
			return Setting{}, fmt.Errorf("%q is no path of a key; want one such as block.window or stages.0.lr.gate", key)
		}
	}
	return Setting{Path: key, Value: value, Flag: flag}, nil
}

// steps cuts a path: stages[0].lr and stages.0.lr are stages, 0, lr.
func steps(path string) []string {
	return strings.Split(strings.NewReplacer("].", ".", "]", "", "[", ".").Replace(path), ".")
}

// Set puts a value into a file's tree, before that is checked, and returns the tree. Problems
// of the key are the flag's.
func (d *Document) Set(root ast.Node, s Setting) (ast.Node, error) {
	return d.put(root, "", steps(s.Path), s)
}

// put returns n, which stands at path, with the value at the steps below it.
func (d *Document) put(n ast.Node, path string, steps []string, s Setting) (ast.Node, error) {
	if len(steps) == 0 {
		d.Override(path, s.Flag+" "+path)
		n, err := parseValue(path, s)
		if _, section := n.(ast.MapNode); section && err == nil {
			d.quotes[path] = quoteText(s)
		}
		return n, err
	}
	step, rest := steps[0], steps[1:]
	if list, ok := n.(*ast.SequenceNode); ok {
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(list.Values) {
			return nil, fmt.Errorf("%s %s: %s is a list of %d; want a number from 0 to %d in place of %q", s.Flag, s.Path, path, len(list.Values), len(list.Values)-1, step)
		}
		list.Values[i], err = d.put(list.Values[i], fmt.Sprintf("%s[%d]", path, i), rest, s)
		return n, err
	}
	at := Join(path, step)
	if v, ok := n.(*ast.MappingValueNode); ok {
		n = ast.Mapping(v.GetToken(), false, v)
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return nil, fmt.Errorf("%s %s: %s is %s, and has no keys", s.Flag, s.Path, path, Describe(n))
	}
	for _, v := range m.Values {
		if v.Key.GetToken().Value == step {
			var err error
			v.Value, err = d.put(v.Value, at, rest, s)
			return m, err
		}
	}
	// A key that the file has not: as much of the path as is missing is the flag's.
	d.Override(at, s.Flag+" "+at)
	added, err := parseValue(at, Setting{Path: s.Path, Flag: s.Flag, Value: step + ": {}"})
	if err != nil {
		return nil, err
	}
	entry, ok := entryOf(added)
	if !ok {
		return nil, fmt.Errorf("%s %s: %q is no key", s.Flag, s.Path, step)
	}
	if entry.Value, err = d.put(entry.Value, at, rest, s); err != nil {
		return nil, err
	}
	m.Values = append(m.Values, entry)
	return m, nil
}

// entryOf is the only key of a section.
func entryOf(n ast.Node) (*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingValueNode:
		return n, true
	case *ast.MappingNode:
		if len(n.Values) == 1 {
			return n.Values[0], true
		}
	}
	return nil, false
}

// parseValue reads a value; none is null.
func parseValue(path string, s Setting) (ast.Node, error) {
	file, err := parser.ParseBytes([]byte(s.Value), 0)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %q is not YAML: %s%s", s.Flag, path, s.Value, firstLine(err), quoteText(s))
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, fmt.Errorf("%s %s %s", s.Flag, path, NoValue)
	}
	return file.Docs[0].Body, nil
}

// quoteText says how a text that begins like a section, as prompts do, is written.
func quoteText(s Setting) string {
	if !strings.HasPrefix(strings.TrimSpace(s.Value), "{") {
		return ""
	}
	return fmt.Sprintf(`; a text that begins with { stands in quotes: %s '%s="{…"'`, s.Flag, s.Path)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Given says whether a setting or flag gives the key at path, or a section around it.
func (d *Document) Given(path string) bool {
	key, _ := d.overridden(path)
	return key != ""
}

package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// stringMethods returns Python's methods of str: those that gonja has right, and our
// own of those that it has not.
func stringMethods() map[string]exec.Method[string] {
	methods := map[string]exec.Method[string]{
		"strip":      strip(strings.Trim, strings.TrimFunc),
		"lstrip":     strip(strings.TrimLeft, strings.TrimLeftFunc),
		"rstrip":     strip(strings.TrimRight, strings.TrimRightFunc),
		"split":      splitString,
		"startswith": affix(strings.HasPrefix),
		"endswith":   affix(strings.HasSuffix),
		"replace":    replaceString,
		"count":      countString,
	}
	for _, name := range []string{
		"lower", "upper", "capitalize", "title", "join", "find", "rfind", "isalpha", "isdigit", "isalnum",
		"isspace", "isupper", "islower", "removeprefix", "removesuffix", "partition", "rpartition", "splitlines", "zfill",
	} {
		methods[name], _ = builtins.Methods.Str.Get(name)
	}
	return methods
}

// texts returns arguments that are all strings, between least and most of them.
func texts(args *exec.VarArgs, least, most int) ([]string, error) {
	if n := len(args.Args); n < least || n > most || len(args.KwArgs) > 0 {
		return nil, fmt.Errorf("want %d to %d unnamed arguments", least, most)
	}
	out := make([]string, len(args.Args))
	for i, a := range args.Args {
		if !a.IsString() {
			return nil, fmt.Errorf("argument %d is %s, want a string", i+1, a.String())
		}
		out[i] = a.String()
	}
	return out, nil
}

func strip(chars func(s, cutset string) string, space func(string, func(rune) bool) string) exec.Method[string] {
	return func(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
		cutset, err := texts(args, 0, 1)
		if err != nil || len(cutset) == 0 {
			return space(self, unicode.IsSpace), err
		}
		return chars(self, cutset[0]), nil
	}
}

// splitString is str.split(sep=None, maxsplit=-1).
func splitString(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	limit := -1
	if v, ok := args.KwArgs["maxsplit"]; ok && v.IsInteger() {
		limit = v.Integer()
	}
	a := args.Args
	if len(a) == 2 && a[1].IsInteger() {
		limit, a = a[1].Integer(), a[:1]
	}
	sep, err := texts(&exec.VarArgs{Args: a}, 0, 1)
	switch {
	case err != nil:
		return nil, err
	case len(sep) == 1 && sep[0] == "":
		return nil, fmt.Errorf("the separator is empty")
	case len(sep) == 1 && limit >= 0:
		return anys(strings.SplitN(self, sep[0], limit+1)), nil
	case len(sep) == 1:
		return anys(strings.Split(self, sep[0])), nil
	case limit >= 0:
		return nil, fmt.Errorf("a limit needs a separator")
	}
	return anys(strings.Fields(self)), nil
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// affix is str.startswith and str.endswith of a string or a tuple of them.
func affix(has func(s, affix string) bool) exec.Method[string] {
	return func(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
		if len(args.Args) == 1 && args.Args[0].IsList() {
			found := false
			args.Args[0].Iterate(func(_, _ int, v, _ *exec.Value) bool {
				found = found || v.IsString() && has(self, v.String())
				return true
			}, func() {})
			return found, nil
		}
		a, err := texts(args, 1, 1)
		if err != nil {
			return nil, err
		}
		return has(self, a[0]), nil
	}
}

// replaceString is str.replace(old, new).
func replaceString(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	a, err := texts(args, 2, 2)
	if err != nil {
		return nil, err
	}
	return strings.ReplaceAll(self, a[0], a[1]), nil
}

func countString(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	a, err := texts(args, 1, 1)
	if err != nil {
		return nil, err
	}
	return strings.Count(self, a[0]), nil
}

// dictMethods are those of dict that change nothing. Unlike gonja's they keep the
// order of the keys.
var dictMethods = map[string]exec.Method[map[string]any]{
	"keys":   dictList(func(k, _ *exec.Value) any { return k.Interface() }),
	"values": dictList(func(_, v *exec.Value) any { return v.Interface() }),
	"items":  dictList(func(k, v *exec.Value) any { return []any{k.Interface(), v.Interface()} }),
	"get": func(_ map[string]any, self *exec.Value, args *exec.VarArgs) (any, error) {
		if n := len(args.Args); n < 1 || n > 2 {
			return nil, fmt.Errorf("get: want 1 or 2 arguments, found %d", n)
		}
		if v, ok := self.GetItem(args.Args[0].Interface()); ok {
			return v.Interface(), nil
		}
		if len(args.Args) == 2 {
			return args.Args[1].Interface(), nil
		}
		return none{}, nil
	},
}

func dictList(item func(key, value *exec.Value) any) exec.Method[map[string]any] {
	return func(_ map[string]any, self *exec.Value, _ *exec.VarArgs) (any, error) {
		out := []any{}
		self.Iterate(func(_, _ int, k, v *exec.Value) bool {
			out = append(out, item(k, v))
			return true
		}, func() {})
		return out, nil
	}
}

var pythonFilters = map[string]exec.FilterFunction{"tojson": toJSON}

// toJSON is transformers' tojson: json.dumps(x, ensure_ascii=False, indent=indent).
func toJSON(_ *exec.Evaluator, v *exec.Value, args *exec.VarArgs) *exec.Value {
	indent := ""
	for key, a := range args.KwArgs {
		switch {
		case key == "indent" && a.IsInteger():
			indent = strings.Repeat(" ", max(0, min(a.Integer(), 16)))
		case slices.Contains([]string{"indent", "ensure_ascii", "separators", "sort_keys"}, key) && !a.IsTrue():
		default:
			return exec.AsValue(fmt.Errorf("tojson: %s=%s is not supported, only indent", key, a.String()))
		}
	}
	if len(args.Args) > 0 {
		return exec.AsValue(fmt.Errorf("tojson: unnamed arguments are not supported, only indent=n"))
	}
	w := jsonWriter{indent: indent}
	if err := w.value(v, "\n"); err != nil {
		return exec.AsValue(fmt.Errorf("tojson: %w", err))
	}
	return exec.AsValue(w.String())
}

// jsonWriter writes JSON as Python does, with a space behind colons and commas.
type jsonWriter struct {
	strings.Builder
	indent string
}

// value writes v; line is the line break with the indentation of where it stands.
func (w *jsonWriter) value(v *exec.Value, line string) error {
	switch {
	case v.IsError():
		return v
	case isNone(v):
		w.WriteString("null")
	case v.IsBool():
		w.WriteString(strings.ToLower(v.String()))
	case v.IsNumber():
		w.WriteString(v.String())
	case v.IsString():
		w.text(v.String())
	case v.IsDict():
		return w.list(v, "{}", line, func(k, x *exec.Value, line string) error {
			w.text(k.String())
			w.WriteString(": ")
			return w.value(x, line)
		})
	case v.IsList():
		return w.list(v, "[]", line, func(x, _ *exec.Value, line string) error { return w.value(x, line) })
	default:
		return fmt.Errorf("an undefined value")
	}
	return nil
}

// list writes the items of v between brackets.
func (w *jsonWriter) list(v *exec.Value, brackets, line string, item func(k, x *exec.Value, line string) error) (err error) {
	w.WriteString(brackets[:1])
	inner := line + w.indent
	n := 0
	v.Iterate(func(i, _ int, k, x *exec.Value) bool {
		switch {
		case i > 0 && w.indent == "":
			w.WriteString(", ")
		case i > 0:
			w.WriteString(",")
		}
		if w.indent != "" {
			w.WriteString(inner)
		}
		n++
		err = item(k, x, inner)
		return err == nil
	}, func() {})
	if n > 0 && w.indent != "" {
		w.WriteString(line)
	}
	w.WriteString(brackets[1:])
	return err
}

func (w *jsonWriter) text(s string) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}
	w.WriteByte('"')
	for _, r := range s {
		switch escaped, ok := short[r]; {
		case ok:
			w.WriteString(escaped)
		case r < ' ':
			fmt.Fprintf(w, `\u%04x`, r)
		default:
			w.WriteRune(r)
		}
	}
	w.WriteByte('"')
}

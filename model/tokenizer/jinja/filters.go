package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// filterFunc is a filter: v|name(a).
type filterFunc func(s *scope, v Value, a args) (Value, error)

var filters map[string]filterFunc

func init() {
	filters = map[string]filterFunc{
		"abs": absFilter, "attr": attrFilter, "batch": batchFilter, "capitalize": viaText(capitalize), "center": centerFilter,
		"count": lengthFilter, "d": defaultFilter, "default": defaultFilter, "dictsort": dictSortFilter, "e": escapeFilter, "escape": escapeFilter,
		"filesizeformat": fileSizeFilter, "first": firstFilter, "float": floatFilter, "forceescape": forceEscapeFilter, "format": formatFilter,
		"groupby": groupByFilter, "indent": indentFilter, "int": intFilter, "items": itemsFilter, "join": joinFilter, "last": lastFilter,
		"length": lengthFilter, "list": listFilter, "lower": viaText(lowerText), "map": mapFilter, "max": extreme(1), "min": extreme(-1),
		"pprint": pprintFilter, "random": refusedFilter("random gives another result each time"), "reject": selectFilter(false, false),
		"rejectattr": selectFilter(true, false), "replace": replaceFilter, "reverse": reverseFilter, "round": roundFilter, "safe": safeFilter,
		"select": selectFilter(false, true), "selectattr": selectFilter(true, true), "slice": sliceFilter, "sort": sortFilter,
		"string": stringFilter, "striptags": stripTagsFilter, "sum": sumFilter, "title": viaText(titleFilter), "tojson": toJSONFilter, "trim": trimFilter,
		"truncate": truncateFilter, "unique": uniqueFilter, "upper": viaText(upperText), "urlencode": urlEncodeFilter,
		"urlize": refusedFilter("urlize makes HTML of a text"), "wordcount": wordCountFilter, "wordwrap": wordWrapFilter, "xmlattr": xmlAttrFilter,
	}
}

func refusedFilter(why string) filterFunc {
	return func(*scope, Value, args) (Value, error) { return nil, errors.New(why + ", which is not supported") }
}

// softText is markupsafe's soft_str: markup stays markup.
func softText(in *interp, v Value) (text string, wrap func(string) Value, err error) {
	if m, ok := v.(markup); ok {
		return string(m), func(s string) Value { return markup(s) }, nil
	}
	text, err = toText(in, v)
	return text, func(s string) Value { return s }, err
}

// viaText is a filter without arguments that changes a text.
func viaText(f func(string) string) filterFunc {
	return func(s *scope, v Value, a args) (Value, error) {
		if err := a.none(); err != nil {
			return nil, err
		}
		text, wrap, err := softText(s.in, v)
		if err == nil {
			err = s.in.alloc(3 * len(text))
		}
		if err == nil {
			err = s.in.spend(len(text) / 16)
		}
		if err != nil {
			return nil, err
		}
		return wrap(f(text)), nil
	}
}

// titleFilter makes capitals of the first letters of words, which begin at the start, and
// behind white space, hyphens and opening brackets.
func titleFilter(s string) string {
	var b strings.Builder
	rest := s
	for rest != "" {
		n := strings.IndexFunc(rest, breaksTitle)
		if n < 0 {
			n = len(rest)
		}
		if n == 0 {
			for _, r := range rest {
				if !breaksTitle(r) {
					break
				}
				n += len(string(r))
			}
			b.WriteString(rest[:n])
		} else {
			word := []rune(rest[:n])
			b.WriteString(upperText(string(word[:1])) + lowerText(string(word[1:])))
		}
		rest = rest[n:]
	}
	return b.String()
}

func breaksTitle(r rune) bool { return isSpace(r) || strings.ContainsRune("-({[<", r) }

// viaMethod is a filter that is a method of its text.
func viaMethod(s *scope, v Value, name string, a ...Value) (Value, error) {
	text, wrap, err := softText(s.in, v)
	if err != nil {
		return nil, err
	}
	return textMethods[name](s, wrap(text), args{pos: a})
}

func trimFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "chars")
	if err != nil {
		return nil, err
	}
	return viaMethod(s, v, "strip", or(b[0], nil))
}

func centerFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "width")
	if err != nil {
		return nil, err
	}
	return viaMethod(s, v, "center", or(b[0], int64(80)))
}

func formatFilter(s *scope, v Value, a args) (Value, error) {
	if len(a.pos) > 0 && len(a.names) > 0 {
		return nil, errors.New("takes either arguments by place or by name")
	}
	var with Value = &tuple{items: a.pos}
	if len(a.names) > 0 {
		d := &Dict{}
		for i, n := range a.names {
			d.Set(n, a.values[i])
		}
		with = d
	}
	text, wrap, err := softText(s.in, v)
	if err != nil {
		return nil, err
	}
	return binary(s.in, "%", wrap(text), with)
}

func replaceFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(2, "old", "new", "count")
	if err != nil {
		return nil, err
	}
	n := int64(-1)
	if or(b[2], nil) != nil {
		if n, err = intOr(b[2], -1); err != nil {
			return nil, err
		}
	}
	var t [3]string
	for i, x := range []Value{v, b[0], b[1]} {
		if t[i], err = toText(s.in, x); err != nil {
			return nil, err
		}
	}
	return replaced(s.in, t[0], t[1], t[2], n)
}

func stringFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	text, wrap, err := softText(s.in, v)
	return wrap(text), err
}

func safeFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	text, err := toText(s.in, v)
	return markup(text), err
}

var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

func escaped(in *interp, s string) (markup, error) {
	if err := in.alloc(5 * len(s)); err != nil {
		return "", err
	}
	if err := in.spend(len(s) / 8); err != nil {
		return "", err
	}
	return markup(escapes.Replace(s)), nil
}

// escapeValue is markupsafe's escape().
func escapeValue(in *interp, v Value) (markup, error) {
	if m, ok := v.(markup); ok {
		return m, nil
	}
	text, err := toText(in, v)
	if err != nil {
		return "", err
	}
	return escaped(in, text)
}

func escapeFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	return escapeValue(s.in, v)
}

func forceEscapeFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	text, err := toText(s.in, v)
	if err != nil {
		return nil, err
	}
	return escaped(s.in, text)
}

func defaultFilter(_ *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	if _, ok := v.(*undefined); ok || truthOr(b[1], false) && !truth(v) {
		return or(b[0], ""), nil
	}
	return v, nil
}

func attrFilter(_ *scope, v Value, a args) (Value, error) {
	b, err := a.bind(1, "name")
	if err != nil {
		return nil, err
	}
	name, err := textOr(b[0], "")
	if err != nil {
		return nil, err
	}
	if m, ok := member(v, name); ok {
		return m, nil
	}
	return undefinedf("%s has no attribute %q", typeName(v), name), nil
}

func joinFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "d", "attribute")
	if err != nil {
		return nil, err
	}
	list, err := toList(s.in, v)
	if err != nil {
		return nil, err
	}
	sep, err := toText(s.in, or(b[0], ""))
	if err != nil {
		return nil, err
	}
	get := getter(s.in, or(b[1], nil), nil)
	return joined(s.in, sep, list, func(v Value) (string, error) {
		if v, err = get(v); err != nil {
			return "", err
		}
		return toText(s.in, v)
	})
}

func indentFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	text, isString := isText(v)
	if !isString {
		return nil, wanted("a string", v)
	}
	by, isString := isText(b[0])
	if !isString {
		n, err := intOr(b[0], 4)
		if err == nil {
			err = s.in.allocTimes(n, 1)
		}
		if err != nil {
			return nil, err
		}
		by = strings.Repeat(" ", int(max(n, 0)))
	}
	lines, err := linesOf(s.in, text+"\n", false)
	if err != nil {
		return nil, err
	}
	if err := s.in.allocTimes(int64(len(lines)), len(by)+1); err != nil {
		return nil, err
	}
	var out strings.Builder
	for i, line := range lines {
		switch {
		case i > 0:
			out.WriteString("\n")
			if line != "" || truthOr(b[2], false) {
				out.WriteString(by)
			}
		case truthOr(b[1], false):
			out.WriteString(by)
		}
		out.WriteString(line)
	}
	if _, ok := v.(markup); ok {
		return markup(out.String()), s.in.alloc(len(text))
	}
	return out.String(), s.in.alloc(len(text))
}

// fileSizeFilter writes a number of bytes for people.
func fileSizeFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "binary")
	if err != nil {
		return nil, err
	}
	n, ok, err := parseFloat(s.in, v)
	if err != nil || !ok {
		return nil, wanted("a number", v)
	}
	base, units := 1000.0, []string{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}
	if truthOr(b[0], false) {
		base, units = 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}
	}
	switch {
	case n == 1:
		return "1 Byte", nil
	case n < base:
		return strconv.FormatFloat(float64(int64(n)), 'f', 0, 64) + " Bytes", nil
	}
	unit := base
	for i, name := range units {
		if unit *= base; n < unit || i == len(units)-1 {
			return fmt.Sprintf("%.1f %s", base*n/unit, name), nil
		}
	}
	return nil, nil
}

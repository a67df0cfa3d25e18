package jinja

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// splitting is split or, from the end, rsplit.
func splitting(fromEnd bool) textFunc {
	return func(in *interp, s string, a args) (Value, error) {
		v, err := a.bind(0, "sep", "maxsplit")
		if err != nil {
			return nil, err
		}
		most, err := intOr(v[1], -1)
		if err != nil {
			return nil, err
		}
		if most < 0 {
			most = int64(len(s)) + 1
		}
		if or(v[0], nil) == nil {
			return splitSpace(in, s, most, fromEnd)
		}
		sep, err := textOr(v[0], "")
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, errors.New("the separator is empty")
		}
		if err := in.alloc(64 * min(strings.Count(s, sep)+1, int(most)+1)); err != nil {
			return nil, err
		}
		return splitAt(s, sep, most, fromEnd), nil
	}
}

func splitAt(s, sep string, most int64, fromEnd bool) *List {
	var out []Value
	for ; most > 0; most-- {
		if fromEnd {
			i := strings.LastIndex(s, sep)
			if i < 0 {
				break
			}
			out, s = append(out, s[i+len(sep):]), s[:i]
			continue
		}
		i := strings.Index(s, sep)
		if i < 0 {
			break
		}
		out, s = append(out, s[:i]), s[i+len(sep):]
	}
	out = append(out, s)
	if fromEnd {
		slices.Reverse(out)
	}
	return &List{out}
}

// splitSpace splits at runs of white space, which the ends of the text do not have.
func splitSpace(in *interp, s string, most int64, fromEnd bool) (Value, error) {
	var out []Value
	for {
		if fromEnd {
			s = strings.TrimRightFunc(s, isSpace)
		} else {
			s = strings.TrimLeftFunc(s, isSpace)
		}
		if s == "" {
			break
		}
		if err := in.alloc(64); err != nil {
			return nil, err
		}
		from, to := 0, len(s)
		switch {
		case most == 0:
			// the rest stays whole
		case fromEnd:
			if i := strings.LastIndexFunc(s, isSpace); i >= 0 {
				_, n := utf8.DecodeRuneInString(s[i:])
				from = i + n
			}
		default:
			if i := strings.IndexFunc(s, isSpace); i >= 0 {
				to = i
			}
		}
		out = append(out, s[from:to])
		if fromEnd {
			s = s[:from]
		} else {
			s = s[to:]
		}
		most--
	}
	if fromEnd {
		slices.Reverse(out)
	}
	return &List{out}, nil
}

// lineEnd returns where the first line of s ends, and the length of its line break.
func lineEnd(s string) (at, n int) {
	at = strings.IndexFunc(s, func(r rune) bool {
		return '\n' <= r && r <= '\r' || 0x1c <= r && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
	})
	if at < 0 {
		return len(s), 0
	}
	if strings.HasPrefix(s[at:], "\r\n") {
		return at, 2
	}
	_, n = utf8.DecodeRuneInString(s[at:])
	return at, n
}

// linesOf is str.splitlines.
func linesOf(in *interp, s string, keep bool) ([]string, error) {
	var out []string
	for s != "" {
		if err := in.alloc(64); err != nil {
			return nil, err
		}
		i, n := lineEnd(s)
		if keep {
			out = append(out, s[:i+n])
		} else {
			out = append(out, s[:i])
		}
		s = s[i+n:]
	}
	return out, nil
}

func splitLines(in *interp, s string, a args) (Value, error) {
	v, err := a.bind(0, "keepends")
	if err != nil {
		return nil, err
	}
	lines, err := linesOf(in, s, truthOr(v[0], false))
	if err != nil {
		return nil, err
	}
	return texts(lines), nil
}

func texts(list []string) *List {
	out := make([]Value, len(list))
	for i, s := range list {
		out[i] = s
	}
	return &List{out}
}

func partition(fromEnd bool) textFunc {
	return func(_ *interp, s string, a args) (Value, error) {
		t, err := a.texts(1, 1)
		if err != nil {
			return nil, err
		}
		if t[0] == "" {
			return nil, errors.New("the separator is empty")
		}
		i := strings.Index(s, t[0])
		if fromEnd {
			i = strings.LastIndex(s, t[0])
		}
		switch {
		case i >= 0:
			return &tuple{items: []Value{s[:i], t[0], s[i+len(t[0]):]}}, nil
		case fromEnd:
			return &tuple{items: []Value{"", "", s}}, nil
		}
		return &tuple{items: []Value{s, "", ""}}, nil
	}
}

func replaceText(in *interp, s string, a args) (Value, error) {
	v, err := a.bind(2, "/old", "/new", "/count")
	if err != nil {
		return nil, err
	}
	n, err := intOr(v[2], -1)
	if err != nil {
		return nil, err
	}
	t, err := args{pos: v[:2]}.texts(2, 2)
	if err != nil {
		return nil, err
	}
	return replaced(in, s, t[0], t[1], n)
}

// replaced is str.replace.
func replaced(in *interp, s, before, after string, most int64) (Value, error) {
	n := int64(strings.Count(s, before))
	if most >= 0 {
		n = min(n, most)
	}
	if err := in.alloc(len(s)); err != nil {
		return nil, err
	}
	if err := in.allocTimes(n, len(after)); err != nil {
		return nil, err
	}
	return strings.Replace(s, before, after, int(n)), nil
}

func joinText(in *interp, s string, a args) (Value, error) {
	v, err := a.one()
	if err != nil {
		return nil, err
	}
	list, err := toList(in, v)
	if err != nil {
		return nil, err
	}
	return joined(in, s, list, func(v Value) (string, error) { return textOr(v, "") })
}

// joined puts sep between the items.
func joined(in *interp, sep string, list []Value, text func(Value) (string, error)) (string, error) {
	var b strings.Builder
	for i, v := range list {
		t, err := text(v)
		if err == nil {
			err = in.spend(1)
		}
		if err == nil {
			err = in.alloc(len(t) + len(sep))
		}
		if err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(t)
	}
	return b.String(), nil
}

// zfill puts zeros before a number, behind its sign.
func zfill(in *interp, s string, a args) (Value, error) {
	v, err := a.one()
	if err != nil {
		return nil, err
	}
	width, err := intOr(v, 0)
	if err != nil {
		return nil, err
	}
	n := width - int64(utf8.RuneCountInString(s))
	if err := in.allocTimes(n, 1); err != nil || n <= 0 {
		return s, err
	}
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	return sign + strings.Repeat("0", int(n)) + s, nil
}

// How many fill characters of n stand to the left of a text of odd or even width.
func padLeft(int64, int64) int64     { return 0 }
func padRight(n, _ int64) int64      { return n }
func padCenter(n, width int64) int64 { return n/2 + n&width&1 }
func padding(left func(n, width int64) int64) textFunc {
	return func(in *interp, s string, a args) (Value, error) {
		v, err := a.bind(1, "/width", "/fillchar")
		if err != nil {
			return nil, err
		}
		width, err := intOr(v[0], 0)
		if err != nil {
			return nil, err
		}
		fill, err := textOr(v[1], " ")
		if err != nil {
			return nil, err
		}
		if utf8.RuneCountInString(fill) != 1 {
			return nil, errors.New("the fill character must be one character")
		}
		n := width - int64(utf8.RuneCountInString(s))
		if n <= 0 {
			return s, nil
		}
		if err := in.allocTimes(n, len(fill)); err != nil {
			return nil, err
		}
		before := left(n, width)
		return strings.Repeat(fill, int(before)) + s + strings.Repeat(fill, int(n-before)), in.alloc(len(s))
	}
}

func expandTabs(in *interp, s string, a args) (Value, error) {
	v, err := a.bind(0, "tabsize")
	if err != nil {
		return nil, err
	}
	size, err := intOr(v[0], 8)
	if err != nil {
		return nil, err
	}
	if err := in.allocTimes(int64(strings.Count(s, "\t")), int(min(max(size, 0), maxBytes))); err != nil {
		return nil, err
	}
	var b strings.Builder
	column := int64(0)
	for _, r := range s {
		switch {
		case r == '\t' && size > 0:
			n := size - column%size
			b.WriteString(strings.Repeat(" ", int(n)))
			column += n
		case r == '\t':
		default:
			b.WriteRune(r)
			if column++; r == '\n' || r == '\r' {
				column = 0
			}
		}
	}
	return b.String(), in.alloc(len(s))
}

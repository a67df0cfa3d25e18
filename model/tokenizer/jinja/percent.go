package jinja

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var directive = regexp.MustCompile(`^%(?:\(([^()]*)\))?([-+ #0]*)(\*|\d{1,15})?(?:\.(\*|\d{0,9}))?[hlL]?(.)`)

// percent is text % with.
func percent(in *interp, text string, with Value) (Value, error) {
	return percentWith(in, text, with, func(s string) (string, error) { return s, nil })
}

// percentMarkup escapes what is filled in.
func percentMarkup(in *interp, text markup, with Value) (Value, error) {
	escape := func(s string) (string, error) {
		e, err := escaped(in, s)
		return string(e), err
	}
	out, err := percentWith(in, string(text), with, escape)
	return markup(out), err
}

// filler hands out what is filled in.
type filler struct {
	in   *interp
	pos  []Value
	with Value
	used bool // by name
}

func (f *filler) next() (Value, error) {
	if len(f.pos) == 0 {
		return nil, errors.New("there are fewer arguments than the text has places")
	}
	v := f.pos[0]
	f.pos = f.pos[1:]
	return v, nil
}

func (f *filler) named(name string) (Value, error) {
	d, ok := f.with.(*Dict)
	if !ok {
		return nil, errors.New("the text has names, which wants a dict")
	}
	f.used = true
	v, ok := d.field(name)
	if !ok {
		return nil, fmt.Errorf("there is no argument %q", name)
	}
	return v, nil
}

// number reads a width or precision, which may be an argument.
func (f *filler) number(text string) (int64, error) {
	if text != "*" {
		n, _ := strconv.ParseInt(text, 10, 64)
		return n, nil
	}
	v, err := f.next()
	if err != nil {
		return 0, err
	}
	return intOr(v, 0)
}

func percentWith(in *interp, text string, with Value, escape func(string) (string, error)) (string, error) {
	if err := in.alloc(len(text)); err != nil {
		return "", err
	}
	f := &filler{in: in, pos: []Value{with}, with: with}
	if t, ok := with.(*tuple); ok {
		f.pos = t.items
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		m := directive.FindStringSubmatch(text[i:min(len(text), i+1000)])
		if m == nil {
			return "", errors.New("a % at the end of the text, or one that is not understood")
		}
		text = text[i+len(m[0]):]
		if m[0] == "%%" {
			b.WriteByte('%')
			continue
		}
		out, err := f.fill(strings.HasPrefix(m[0], "%("), m, escape)
		if err == nil {
			err = in.alloc(len(out))
		}
		if err != nil {
			return "", err
		}
		b.WriteString(out)
	}
	if _, isDict := with.(*Dict); !isDict && len(f.pos) > 0 {
		if _, isTuple := with.(*tuple); isTuple || !indexable(with) {
			return "", errors.New("there are more arguments than the text has places")
		}
	}
	return b.String(), nil
}

// indexable values may be left over, as Python takes them for mappings.
func indexable(v Value) bool {
	switch v.(type) {
	case *List, *Dict, *integers:
		return true
	}
	return false
}

// fill formats what a directive stands for.
func (f *filler) fill(byName bool, m []string, escape func(string) (string, error)) (string, error) {
	s := spec{fill: " ", precision: -1, align: '>', alternate: strings.Contains(m[2], "#")}
	var err error
	var v Value
	if byName {
		if v, err = f.named(m[1]); err != nil {
			return "", err
		}
	}
	if s.width, err = f.number(m[3]); err != nil {
		return "", err
	}
	if m[4] != "" || strings.Contains(m[0], ".") {
		n, err := f.number(m[4])
		if err != nil {
			return "", err
		}
		s.precision = int(min(max(n, 0), maxBytes))
	}
	if !byName {
		if v, err = f.next(); err != nil {
			return "", err
		}
	}
	if s.width < 0 {
		s.width, s.align = -s.width, '<'
	}
	for _, c := range m[2] {
		switch {
		case c == '-':
			s.align = '<'
		case c == '+':
			s.sign = '+'
		case c == ' ' && s.sign == 0:
			s.sign = ' '
		}
	}
	if strings.Contains(m[2], "0") && s.align == '>' && strings.IndexByte("diouxXeEfFgG", m[5][0]) >= 0 {
		s.fill, s.align = "0", '='
	}
	return f.convert(s, m[5], v, escape)
}

func (f *filler) convert(s spec, kind string, v Value, escape func(string) (string, error)) (string, error) {
	switch kind {
	case "s", "r":
		text, err := toText(f.in, v)
		if kind == "r" {
			text, err = toRepr(f.in, v)
		}
		if _, ok := v.(markup); err == nil && (!ok || kind == "r") {
			text, err = escape(text)
		}
		if err != nil {
			return "", err
		}
		if s.precision >= 0 {
			text = text[:byteOf(text, int64(s.precision))]
		}
		return s.pad(f.in, "", text, '>')
	case "c":
		if t, ok := isText(v); ok {
			if n, _ := length(t); n != 1 {
				return "", errors.New("%c wants one character")
			}
			return s.pad(f.in, "", t, '>')
		}
		s.kind = 'c'
		n, ok := toInt(v)
		if !ok {
			return "", wanted("a character or its number", v)
		}
		s.precision = -1
		return s.integer(f.in, n)
	case "d", "i", "u", "x", "X", "o":
		return f.whole(s, kind[0], v)
	case "e", "E", "f", "F", "g", "G":
		x, ok := toFloat(v)
		if !ok {
			return "", wanted("a number", v)
		}
		s.kind = kind[0]
		return s.float(f.in, x)
	}
	return "", fmt.Errorf("the directive %%%s is not supported", kind)
}

// whole formats a whole number, at least precision digits of it.
func (f *filler) whole(s spec, kind byte, v Value) (string, error) {
	n, ok := toInt(v)
	if x, isFloat := v.(float64); isFloat && strings.IndexByte("diu", kind) >= 0 && math.Abs(x) < 1<<62 {
		n, ok = int64(x), true
	}
	if !ok {
		return "", wanted("a whole number", v)
	}
	base, prefix := 10, ""
	switch kind {
	case 'x', 'X':
		base, prefix = 16, "0"+string(kind)
	case 'o':
		base, prefix = 8, "0o"
	}
	digits := strconv.FormatUint(magnitude(n), base)
	if kind == 'X' {
		digits = strings.ToUpper(digits)
	}
	if more := int64(s.precision) - int64(len(digits)); more > 0 {
		if err := f.in.allocTimes(more, 1); err != nil {
			return "", err
		}
		digits = strings.Repeat("0", int(more)) + digits
	}
	if !s.alternate {
		prefix = ""
	}
	return s.pad(f.in, s.signOf(n < 0)+prefix, digits, '>')
}

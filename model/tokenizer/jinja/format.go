package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// formatMethod is str.format, by the rules of Jinja's sandbox.
func formatMethod(s *scope, self Value, a args) (Value, error) {
	named := &Dict{}
	for i, n := range a.names {
		named.Set(n, a.values[i])
	}
	return formatWith(s, self, a.pos, named)
}

func formatMapMethod(s *scope, self Value, a args) (Value, error) {
	v, err := a.one()
	if err != nil {
		return nil, err
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, wanted("a dict", v)
	}
	return formatWith(s, self, nil, d)
}

func formatWith(s *scope, self Value, pos []Value, named *Dict) (Value, error) {
	f := formatter{in: s.in, pos: pos, named: named}
	_, f.escapes = self.(markup)
	text, _ := isText(self)
	if err := s.in.alloc(len(text)); err != nil {
		return nil, err
	}
	out, err := f.format(text, 2)
	if f.escapes {
		return markup(out), err
	}
	return out, err
}

// formatter fills in the {fields} of a text.
type formatter struct {
	in      *interp
	pos     []Value
	named   *Dict
	next    int  // index of the next {}
	byIndex bool // {0} was used
	escapes bool
}

var errBrace = errors.New("a { or } stands alone; it is written twice where it stands for itself")

// format fills in text, and fields of the fields' formats, depth deep.
func (f *formatter) format(text string, depth int) (string, error) {
	if depth == 0 {
		return "", errors.New("fields are nested too deep")
	}
	var b strings.Builder
	for text != "" {
		i := strings.IndexAny(text, "{}")
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		switch {
		case i+1 < len(text) && text[i+1] == text[i]:
			b.WriteByte(text[i])
			text = text[i+2:]
			continue
		case text[i] == '}':
			return "", errBrace
		}
		end := fieldEnd(text[i+1:])
		if end < 0 {
			return "", errBrace
		}
		out, err := f.field(text[i+1:i+1+end], depth)
		if err == nil {
			err = f.in.alloc(len(out))
		}
		if err != nil {
			return "", err
		}
		b.WriteString(out)
		text = text[i+1+end+1:]
	}
	return b.String(), nil
}

// fieldEnd returns the index of the } that closes a field, -1 without one.
func fieldEnd(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

// field is name!conversion:spec.
func (f *formatter) field(text string, depth int) (string, error) {
	at := strings.IndexAny(text, "!:")
	for at > 0 && strings.Count(text[:at], "[") > strings.Count(text[:at], "]") {
		n := strings.IndexAny(text[at+1:], "!:")
		if n < 0 {
			at = -1
			break
		}
		at += 1 + n
	}
	name, conversion, spec := text, "", ""
	if at >= 0 {
		name = text[:at]
		rest := text[at:]
		if rest[0] == '!' {
			if len(rest) < 2 || len(rest) > 2 && rest[2] != ':' {
				return "", errors.New("a conversion is one character: !r, !s or !a")
			}
			conversion, rest = rest[1:2], rest[2:]
		}
		if rest != "" {
			spec = rest[1:]
		}
	}
	v, err := f.value(name)
	if err != nil {
		return "", err
	}
	switch conversion {
	case "r":
		v, err = toRepr(f.in, v)
	case "s":
		v, err = toText(f.in, v)
	case "a":
		err = errors.New("the conversion !a is not supported")
	case "":
	default:
		err = fmt.Errorf("unknown conversion %q", conversion)
	}
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(spec, "{}") {
		if spec, err = f.format(spec, depth-1); err != nil {
			return "", err
		}
	}
	if _, ok := v.(markup); ok && f.escapes && spec != "" {
		return "", errors.New("markup has no format")
	}
	out, err := formatValue(f.in, v, spec)
	if _, ok := v.(markup); ok || !f.escapes || err != nil {
		return out, err
	}
	e, err := escaped(f.in, out)
	return string(e), err
}

// value finds what a field's name stands for: 0.attr[key].
func (f *formatter) value(name string) (Value, error) {
	n := strings.IndexAny(name, ".[")
	if n < 0 {
		n = len(name)
	}
	v, err := f.first(name[:n])
	if err != nil {
		return nil, err
	}
	for rest := name[n:]; rest != ""; {
		if err := f.in.spend(1); err != nil {
			return nil, err
		}
		if rest[0] == '.' {
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			if v, err = attribute(v, rest[1:1+end]); err != nil {
				return nil, err
			}
			rest = rest[1+end:]
			continue
		}
		end := strings.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 {
			return nil, errors.New("a [ of a field has no ]")
		}
		key := Value(rest[1:end])
		if i, err := strconv.ParseInt(rest[1:end], 10, 64); err == nil && rest[1] != '-' && rest[1] != '+' {
			key = i
		}
		if v, err = item(f.in, v, key); err != nil {
			return nil, err
		}
		rest = rest[end+1:]
	}
	return v, nil
}

func (f *formatter) first(name string) (Value, error) {
	i, err := strconv.Atoi(name)
	switch {
	case name == "":
		if f.byIndex {
			return nil, errors.New("fields are numbered by themselves and by hand")
		}
		i = f.next
		f.next++
	case err == nil && i >= 0:
		if f.next > 0 {
			return nil, errors.New("fields are numbered by themselves and by hand")
		}
		f.byIndex = true
	default:
		if v, ok := f.named.field(name); ok {
			return v, nil
		}
		return nil, fmt.Errorf("there is no argument %q", name)
	}
	if i >= len(f.pos) {
		return nil, fmt.Errorf("there is no argument %d", i)
	}
	return f.pos[i], nil
}

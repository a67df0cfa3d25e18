package jinja

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// globals are what every template knows.
var globals = map[string]Value{}

func init() {
	for name, f := range map[string]func(s *scope, a args) (Value, error){
		"range":           rangeFunc,
		"dict":            dictFunc,
		"namespace":       namespaceFunc,
		"cycler":          cyclerFunc,
		"joiner":          joinerFunc,
		"lipsum":          refused("lipsum makes random text"),
		"raise_exception": raiseFunc,
		"strftime_now":    strftimeFunc,
	} {
		globals[name] = &function{name, f}
	}
}

func refused(why string) func(*scope, args) (Value, error) {
	return func(*scope, args) (Value, error) { return nil, errors.New(why + ", which is not supported") }
}

// unnamed fails if there are arguments by name.
func (a args) unnamed() error {
	if len(a.names) > 0 {
		return fmt.Errorf("takes no argument named %q", a.names[0])
	}
	return nil
}

// rangeFunc is range(stop), range(start, stop) or range(start, stop, step).
func rangeFunc(_ *scope, a args) (Value, error) {
	if err := a.unnamed(); err != nil {
		return nil, err
	}
	n := [3]int64{0, 0, 1}
	for i, v := range a.pos {
		x, ok := toInt(v)
		if !ok || i == len(n) {
			return nil, wanted("one to three whole numbers", v)
		}
		n[i] = x
	}
	r := &integers{n[0], n[1], n[2]}
	switch len(a.pos) {
	case 0:
		return nil, errors.New("wants one to three whole numbers, none is given")
	case 1:
		r.start, r.stop = 0, n[0]
	}
	const far = 1 << 53 // so that no sum of them overflows
	if r.step == 0 || min(r.start, r.stop, r.step) < -far || max(r.start, r.stop, r.step) > far {
		return nil, errors.New("its step is 0, or a number is too large")
	}
	if r.len() > maxRange {
		return nil, fmt.Errorf("it has %d numbers, more than the %d that the sandbox allows", r.len(), maxRange)
	}
	return r, nil
}

// dictFunc is dict(pairs or dict, name=value, …).
func dictFunc(s *scope, a args) (Value, error) {
	d := &Dict{}
	if len(a.pos) > 1 {
		return nil, fmt.Errorf("takes at most one argument without a name, %d are given", len(a.pos))
	}
	if len(a.pos) == 1 {
		if err := d.update(s.in, a.pos[0]); err != nil {
			return nil, err
		}
	}
	for i, name := range a.names {
		if err := d.set(s.in, name, a.values[i]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Dict) update(in *interp, from Value) error {
	if from, ok := from.(*Dict); ok {
		for i, k := range from.keys {
			if err := d.set(in, k, from.values[i]); err != nil {
				return err
			}
		}
		return nil
	}
	list, err := toList(in, from)
	if err != nil {
		return err
	}
	for _, x := range list {
		pair, err := toList(in, x)
		if err != nil {
			return err
		}
		if len(pair) != 2 {
			return fmt.Errorf("wants pairs of key and value, found %d items", len(pair))
		}
		if err := d.set(in, pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}

func namespaceFunc(s *scope, a args) (Value, error) {
	d, err := dictFunc(s, a)
	if err != nil {
		return nil, err
	}
	return &namespace{attrs: *d.(*Dict)}, nil
}

// cycler goes through its items again and again, joiner prints its separator from the
// second time on.
type (
	cycler struct {
		items []Value
		at    int
	}
	joiner struct {
		sep  string
		used bool
	}
)

func cyclerFunc(_ *scope, a args) (Value, error) {
	if err := a.unnamed(); err != nil {
		return nil, err
	}
	if len(a.pos) == 0 {
		return nil, errors.New("at least one item has to be given")
	}
	return &cycler{items: a.pos}, nil
}

func (c *cycler) next() (Value, error) {
	v := c.items[c.at]
	c.at = (c.at + 1) % len(c.items)
	return v, nil
}

func (c *cycler) member(name string) (Value, bool) {
	switch name {
	case "current":
		return c.items[c.at], true
	case "next":
		return &function{"cycler.next", func(*scope, args) (Value, error) { return c.next() }}, true
	case "reset":
		return &function{"cycler.reset", func(*scope, args) (Value, error) { c.at = 0; return nil, nil }}, true
	}
	return nil, false
}

func joinerFunc(_ *scope, a args) (Value, error) {
	v, err := a.bind(0, "sep")
	if err != nil {
		return nil, err
	}
	sep, err := textOr(v[0], ", ")
	return &joiner{sep: sep}, err
}

func (j *joiner) next() Value {
	if j.used {
		return j.sep
	}
	j.used = true
	return ""
}

func raiseFunc(s *scope, a args) (Value, error) {
	v, err := a.bind(1, "message")
	if err != nil {
		return nil, err
	}
	text, err := toText(s.in, v[0])
	if err != nil {
		return nil, err
	}
	return nil, &Raised{text}
}

func strftimeFunc(s *scope, a args) (Value, error) {
	v, err := a.bind(1, "format")
	if err != nil {
		return nil, err
	}
	format, err := textOr(v[0], "")
	if err != nil {
		return nil, err
	}
	if err := s.in.alloc(16 * len(format)); err != nil { // as long as a name of a month may be
		return nil, err
	}
	if err := s.in.spend(4 * len(format)); err != nil {
		return nil, err
	}
	return strftime(format, s.in.now())
}

// layouts are the directives of strftime in the words of package time.
var layouts = map[byte]string{
	'd': "02", 'b': "Jan", 'B': "January", 'm': "01", 'Y': "2006", 'y': "06", 'a': "Mon", 'A': "Monday",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'j': "002", 'z': "", 'Z': "", '%': "%",
	'e': "_2", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'h': "Jan",
}

// strftime formats a time as Python does, without a time zone.
func strftime(format string, now time.Time) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		unpadded := format[i] == '-' && i+1 < len(format) // %-d of the C library
		if unpadded {
			i++
		}
		layout, ok := layouts[format[i]]
		if !ok {
			return "", fmt.Errorf("%%%c in %q is not supported", format[i], format)
		}
		text := now.Format(layout)
		if unpadded && len(text) > 1 {
			text = strings.TrimLeft(text[:len(text)-1], "0 ") + text[len(text)-1:]
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

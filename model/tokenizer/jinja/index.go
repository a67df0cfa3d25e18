package jinja

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// attribute is v.name: a method or attribute, or else what a dict has under that key. What
// the sandbox does not allow is undefined.
func attribute(v Value, name string) (Value, error) {
	if u, ok := v.(*undefined); ok {
		return nil, u
	}
	if m, ok := member(v, name); ok {
		return m, nil
	}
	if d, ok := v.(*Dict); ok {
		if x, ok := d.field(name); ok {
			return x, nil
		}
	}
	return undefinedf("%s has no attribute %q", typeName(v), name), nil
}

// member is an attribute that v has in Python.
func member(v Value, name string) (Value, bool) {
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") || changes(v, name) {
		return undefinedf("the attribute %q of a %s is not safe: a template may not reach inside Python or change its data", name, typeName(v)), true
	}
	switch v := v.(type) {
	case string, markup:
		if f := textMethods[name]; f != nil {
			return &method{v, name, f}, true
		}
	case *Dict:
		if f := dictMethods[name]; f != nil {
			return &method{v, name, f}, true
		}
	case *List:
		if f := listMethods[name]; f != nil {
			return &method{v, name, f}, true
		}
	case *tuple:
		switch {
		case v.group && name == "grouper":
			return v.items[0], true
		case v.group && name == "list":
			return v.items[1], true
		}
		if f := listMethods[name]; f != nil && name != "copy" {
			return &method{v, name, f}, true
		}
	case *integers:
		switch name {
		case "start":
			return v.start, true
		case "stop":
			return v.stop, true
		case "step":
			return v.step, true
		}
	case int64, bool, float64:
		return numberMember(v, name)
	case *namespace:
		if x, ok := v.attrs.field(name); ok {
			return x, true
		}
	case *loop:
		return v.member(name)
	case *macro:
		return v.member(name)
	case *cycler:
		return v.member(name)
	}
	return nil, false
}

// changes reports whether a method would change the data that the template was given.
func changes(v Value, name string) bool {
	switch v.(type) {
	case *Dict:
		switch name {
		case "clear", "pop", "popitem", "setdefault", "update":
			return true
		}
	case *List:
		switch name {
		case "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove":
			return true
		}
	}
	return false
}

// item is v[key], or else the attribute of that name.
func item(in *interp, v, key Value) (Value, error) {
	switch x := v.(type) {
	case *undefined:
		return nil, x
	case *Dict:
		if found, ok, err := x.get(in, key); err == nil && ok {
			return found, nil
		}
	default:
		if i, ok := toInt(key); ok {
			if found, ok, err := itemAt(in, v, i); ok || err != nil {
				return found, err
			}
		}
	}
	if name, ok := isText(key); ok {
		if m, ok := member(v, name); ok {
			return m, nil
		}
		return undefinedf("%s has no attribute %q", typeName(v), name), nil
	}
	return undefinedf("%s has no element %s", typeName(v), scalar(key)), nil
}

// itemAt returns the item at an index, which counts from the end if it is negative.
func itemAt(in *interp, v Value, i int64) (Value, bool, error) {
	var list []Value
	switch v := v.(type) {
	case string, markup:
		s, _ := isText(v)
		c, ok := charAt(s, i)
		if _, ok := v.(markup); ok {
			return markup(c), ok, in.spend(len(s) / 16)
		}
		return c, ok, in.spend(len(s) / 16)
	case *integers:
		if i < 0 {
			i += v.len()
		}
		if i < 0 || i >= v.len() {
			return nil, false, nil
		}
		return v.start + i*v.step, true, nil
	case *List:
		list = v.items
	case *tuple:
		list = v.items
	default:
		return nil, false, nil
	}
	if i < 0 {
		i += int64(len(list))
	}
	if i < 0 || i >= int64(len(list)) {
		return nil, false, nil
	}
	return list[i], true, nil
}

func charAt(s string, i int64) (string, bool) {
	if i < 0 {
		for ; i < -1 && s != ""; i++ {
			_, n := utf8.DecodeLastRuneInString(s)
			s = s[:len(s)-n]
		}
		_, n := utf8.DecodeLastRuneInString(s)
		return s[len(s)-n:], n > 0
	}
	for ; i > 0 && s != ""; i-- {
		_, n := utf8.DecodeRuneInString(s)
		s = s[n:]
	}
	_, n := utf8.DecodeRuneInString(s)
	return s[:n], n > 0
}

// slice is v[start:stop:step].
func slice(in *interp, v Value, bounds [3]Value) (Value, error) {
	if u, ok := v.(*undefined); ok {
		return nil, u
	}
	n, err := length(v)
	if err != nil {
		return nil, fmt.Errorf("a slice: %w", err)
	}
	r, err := sliceRange(n, bounds)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case string:
		return sliceText(in, v, r)
	case markup:
		s, err := sliceText(in, string(v), r)
		return markup(s), err
	case *List:
		return in.list(sliceItems(v.items, r))
	case *tuple:
		return &tuple{items: sliceItems(v.items, r)}, in.alloc(16 * int(r.len()))
	case *integers:
		return &integers{v.start + r.start*v.step, v.start + r.stop*v.step, v.step * r.step}, nil
	}
	return nil, fmt.Errorf("%s cannot be sliced", typeName(v))
}

// sliceRange returns the indexes that a slice of n items takes.
func sliceRange(n int64, bounds [3]Value) (integers, error) {
	given := [3]int64{}
	for i, b := range bounds {
		if b == nil {
			continue
		}
		var ok bool
		if given[i], ok = toInt(b); !ok {
			return integers{}, wanted("a whole number in a slice", b)
		}
	}
	step := int64(1)
	if bounds[2] != nil {
		step = given[2]
	}
	if step == 0 {
		return integers{}, errors.New("the step of a slice is 0")
	}
	step = min(max(step, -n-1), n+1) // no farther than matters
	low, high := int64(0), n
	if step < 0 {
		low, high = -1, n-1
	}
	clip := func(i int, otherwise int64) int64 {
		if bounds[i] == nil {
			return otherwise
		}
		at := given[i]
		if at < 0 {
			at += n
		}
		return min(max(at, low), high)
	}
	if step < 0 {
		return integers{clip(0, high), clip(1, low), step}, nil
	}
	return integers{clip(0, low), clip(1, high), step}, nil
}

func sliceItems(items []Value, r integers) []Value {
	if r.step == 1 && r.len() > 0 {
		return items[r.start:r.stop:r.stop]
	}
	out := make([]Value, 0, r.len())
	for i, n := r.start, r.len(); n > 0; i, n = i+r.step, n-1 {
		out = append(out, items[i])
	}
	return out
}

func sliceText(in *interp, s string, r integers) (string, error) {
	if err := in.spend(len(s) / 32); err != nil {
		return "", err
	}
	if r.step == 1 {
		return s[byteOf(s, r.start):byteOf(s, max(r.start, r.stop))], nil
	}
	if err := in.alloc(4*utf8.RuneCountInString(s) + int(r.len())); err != nil {
		return "", err
	}
	chars := []rune(s)
	out := make([]rune, 0, r.len())
	for i, n := r.start, r.len(); n > 0; i, n = i+r.step, n-1 {
		out = append(out, chars[i])
	}
	return string(out), nil
}

// byteOf returns the index in bytes of character n.
func byteOf(s string, n int64) int {
	at := 0
	for ; n > 0 && at < len(s); n-- {
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return at
}

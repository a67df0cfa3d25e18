package jinja

import (
	"fmt"
	"math/big"
	"unicode/utf8"
)

// Value is what a template computes with: nil (None), bool, int64, float64, string, *List,
// *Dict, and what only the package makes: tuples, generators, macros, ….
type Value any

// List is a list, which a template cannot change.
type List struct{ items []Value }

// NewList returns a list of items.
func NewList(items ...Value) *List { return &List{items} }

type (
	// markup is a string that is HTML already (markupsafe.Markup): what is added to it is
	// escaped.
	markup string
	tuple  struct {
		items []Value
		group bool // of groupby, with the attributes grouper and list
	}
	// integers are those of range.
	integers struct{ start, stop, step int64 }
	// generator gives its items once.
	generator struct {
		what  string
		next  iterator
		depth int // how many generators it takes its items from, one from the other
	}
	// view is what a dict's keys(), values() and items() return.
	view struct {
		what string // "keys", …
		list *List
	}
	namespace struct{ attrs Dict }
	// method is a function of a value.
	method struct {
		self Value
		name string
		call methodFunc
	}
	// function is one that every template knows.
	function struct {
		name string
		call func(s *scope, a args) (Value, error)
	}
	// undefined is what a name or key stands for that is not there. Printed it is "";
	// whoever computes with it fails with the reason.
	undefined struct{ why string }
)

// iterator returns the next item; ok is false after the last.
type iterator func() (v Value, ok bool, err error)

type methodFunc func(s *scope, self Value, a args) (Value, error)

func (u *undefined) Error() string { return u.why }

func undefinedf(format string, args ...any) *undefined {
	return &undefined{fmt.Sprintf(format, args...)}
}

// truth is Python's bool().
func truth(v Value) bool {
	switch v := v.(type) {
	case nil, *undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case *List:
		return len(v.items) > 0
	case *tuple:
		return len(v.items) > 0
	case *Dict:
		return len(v.keys) > 0
	case *view:
		return len(v.list.items) > 0
	case *integers:
		return v.len() > 0
	}
	return true
}

// typeName is the name of a value's type in Python.
func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *List:
		return "list"
	case *tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *view:
		return "dict_" + v.what
	case *integers:
		return "range"
	case *undefined:
		return "an undefined value"
	case *generator:
		return v.what
	case *namespace:
		return "a namespace"
	case *macro:
		return "a macro"
	case *loop:
		return "the loop"
	case *method, *function:
		return "a function"
	}
	return fmt.Sprintf("%T", v)
}

// isText returns a string or markup as a string.
func isText(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// toInt returns an int or bool.
func toInt(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// toFloat returns an int, bool or float.
func toFloat(v Value) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	}
	n, ok := toInt(v)
	return float64(n), ok
}

// length is Python's len().
func length(v Value) (int64, error) {
	switch v := v.(type) {
	case string:
		return int64(utf8.RuneCountInString(v)), nil
	case markup:
		return int64(utf8.RuneCountInString(string(v))), nil
	case *List:
		return int64(len(v.items)), nil
	case *tuple:
		return int64(len(v.items)), nil
	case *Dict:
		return int64(len(v.keys)), nil
	case *view:
		return int64(len(v.list.items)), nil
	case *integers:
		return v.len(), nil
	case *undefined:
		return 0, nil
	case *loop:
		return v.length()
	}
	return 0, fmt.Errorf("%s has no length", typeName(v))
}

func (r *integers) len() int64 {
	switch {
	case r.step > 0 && r.start < r.stop:
		return (r.stop-r.start-1)/r.step + 1
	case r.step < 0 && r.start > r.stop:
		return (r.start-r.stop-1)/-r.step + 1
	}
	return 0
}

// iterate is Python's iter().
func iterate(v Value) (iterator, error) {
	switch v := v.(type) {
	case string:
		return characters(v, func(c string) Value { return c }), nil
	case markup:
		return characters(string(v), func(c string) Value { return c }), nil
	case *List:
		return items(v.items), nil
	case *tuple:
		return items(v.items), nil
	case *Dict:
		return items(v.keys), nil
	case *view:
		return items(v.list.items), nil
	case *integers:
		return v.iterate(), nil
	case *generator:
		return v.next, nil
	case *loop:
		return v.rest, nil
	case *undefined:
		return items(nil), nil
	}
	return nil, fmt.Errorf("%s cannot be iterated over", typeName(v))
}

// generate returns a generator whose items come from those of v.
func generate(v Value, next iterator) (*generator, error) {
	g := &generator{what: "a generator", next: next}
	if from, ok := v.(*generator); ok {
		g.depth = from.depth + 1
	}
	if g.depth > maxDeep {
		return nil, fmt.Errorf("more than %d generators follow each other; make a list between them (|list)", maxDeep)
	}
	return g, nil
}

// generated is a generator of a list's items.
func generated(list []Value) *generator { return &generator{what: "a generator", next: items(list)} }

func items(list []Value) iterator {
	return func() (Value, bool, error) {
		if len(list) == 0 {
			return nil, false, nil
		}
		v := list[0]
		list = list[1:]
		return v, true, nil
	}
}

func characters(text string, char func(string) Value) iterator {
	return func() (Value, bool, error) {
		if text == "" {
			return nil, false, nil
		}
		_, n := utf8.DecodeRuneInString(text)
		c := text[:n]
		text = text[n:]
		return char(c), true, nil
	}
}

func (r *integers) iterate() iterator {
	n, left := r.start, r.len()
	return func() (Value, bool, error) {
		if left == 0 {
			return nil, false, nil
		}
		v := n
		n, left = n+r.step, left-1
		return v, true, nil
	}
}

// toList returns the items of v; those of a list are not copied.
func toList(in *interp, v Value) ([]Value, error) {
	switch v := v.(type) {
	case *List:
		return v.items, nil
	case *tuple:
		return v.items, nil
	case *Dict:
		return v.keys, nil
	case *view:
		return v.list.items, nil
	}
	next, err := iterate(v)
	if err != nil {
		return nil, err
	}
	var out []Value
	for {
		x, ok, err := next()
		if err == nil && ok {
			err = in.alloc(64) // grown by halves, and boxed
		}
		if err == nil {
			err = in.spend(1)
		}
		if err != nil || !ok {
			return out, err
		}
		out = append(out, x)
	}
}

package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// The methods that a template may call. Those that would change a list or dict are refused
// (changes, in index.go).
var (
	textMethods map[string]methodFunc
	dictMethods map[string]methodFunc
	listMethods map[string]methodFunc
)

func init() {
	dictMethods = map[string]methodFunc{
		"keys":   dictView("keys"),
		"values": dictView("values"),
		"items":  dictView("items"),
		"get":    dictGet,
		"copy": func(_ *scope, self Value, a args) (Value, error) {
			return self, a.none()
		},
		"fromkeys": unsupported,
	}
	listMethods = map[string]methodFunc{
		"index": listIndex,
		"count": listCount,
		"copy": func(s *scope, self Value, a args) (Value, error) {
			if err := a.none(); err != nil {
				return nil, err
			}
			return s.in.list(slices.Clone(self.(*List).items))
		},
	}
}

func unsupported(*scope, Value, args) (Value, error) { return nil, errors.New("it is not supported") }

func dictView(what string) methodFunc {
	return func(s *scope, self Value, a args) (Value, error) {
		if err := a.none(); err != nil {
			return nil, err
		}
		d := self.(*Dict)
		switch what {
		case "keys":
			return &view{what, &List{d.keys}}, nil
		case "values":
			return &view{what, &List{d.values}}, nil
		}
		list, err := dictItems(s.in, d)
		return &view{what, list}, err
	}
}

// dictItems returns the pairs of keys and values.
func dictItems(in *interp, d *Dict) (*List, error) {
	if err := in.alloc(64 * len(d.keys)); err != nil {
		return nil, err
	}
	out := make([]Value, len(d.keys))
	for i, k := range d.keys {
		out[i] = &tuple{items: []Value{k, d.values[i]}}
	}
	return &List{out}, nil
}

func dictGet(s *scope, self Value, a args) (Value, error) {
	v, err := a.bind(1, "/key", "/default")
	if err != nil {
		return nil, err
	}
	found, ok, err := self.(*Dict).get(s.in, v[0])
	if err != nil || ok {
		return found, err
	}
	return or(v[1], nil), nil
}

func listIndex(s *scope, self Value, a args) (Value, error) {
	v, err := a.bind(1, "/value", "/start", "/stop")
	if err != nil {
		return nil, err
	}
	list, _ := toList(s.in, self)
	start, err := intOr(v[1], 0)
	if err != nil {
		return nil, err
	}
	stop, err := intOr(v[2], math.MaxInt64)
	if err != nil {
		return nil, err
	}
	n := int64(len(list))
	start, stop = clip(start, n), clip(stop, n)
	for i := start; i < stop; i++ {
		if same, err := equal(s.in, list[i], v[0], 0); err != nil || same {
			return i, err
		}
	}
	return nil, errors.New("the value is not in the list")
}

// clip is the place of an index of Python's among n items, the end of which it may be.
func clip(i, n int64) int64 {
	if i < 0 {
		i += n
	}
	return min(max(i, 0), n)
}

func listCount(s *scope, self Value, a args) (Value, error) {
	x, err := a.one()
	if err != nil {
		return nil, err
	}
	list, _ := toList(s.in, self)
	n := int64(0)
	for _, v := range list {
		same, err := equal(s.in, v, x, 0)
		if err != nil {
			return nil, err
		}
		if same {
			n++
		}
	}
	return n, nil
}

// numberMember is an attribute or method of a number.
func numberMember(v Value, name string) (Value, bool) {
	f, isFloat := v.(float64)
	n, _ := toInt(v)
	switch name {
	case "real":
		if isFloat {
			return f, true
		}
		return n, true
	case "imag":
		if isFloat {
			return 0.0, true
		}
		return int64(0), true
	case "is_integer":
		if isFloat {
			return plain(v, name, f == math.Trunc(f) && !math.IsInf(f, 0)), true
		}
	case "bit_length":
		if !isFloat {
			return plain(v, name, int64(bits.Len64(magnitude(n)))), true
		}
	case "numerator", "denominator":
		if !isFloat {
			return map[string]int64{"numerator": n, "denominator": 1}[name], true
		}
	case "conjugate":
		return plain(v, name, v), true
	case "hex", "to_bytes", "from_bytes", "fromhex", "as_integer_ratio", "bit_count":
		return &method{v, name, unsupported}, true
	}
	return nil, false
}

// plain is a method without arguments that returns v.
func plain(self Value, name string, v Value) *method {
	return &method{self, name, func(_ *scope, _ Value, a args) (Value, error) {
		if err := a.none(); err != nil {
			return nil, fmt.Errorf("it %w", err)
		}
		return v, nil
	}}
}

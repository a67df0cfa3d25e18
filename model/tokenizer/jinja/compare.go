package jinja

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// compare computes left op right.
func compare(in *interp, op string, left, right Value) (bool, error) {
	switch op {
	case "==", "!=":
		same, err := equal(in, left, right, 0)
		return same == (op == "=="), err
	case "in", "not in":
		found, err := contains(in, right, left)
		return found == (op == "in"), err
	}
	c, err := order(in, left, right, 0)
	if err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0 && c != unordered, nil
	case ">":
		return c > 0 && c != unordered, nil
	default:
		return c >= 0 && c != unordered, nil
	}
}

const unordered = 2 // said of NaN

// equal is Python's ==.
func equal(in *interp, a, b Value, depth int) (bool, error) {
	if err := in.spend(1); err != nil {
		return false, err
	}
	if depth > maxDeep {
		return false, errors.New("lists are nested too deep to be compared")
	}
	if s, ok := isText(a); ok {
		t, ok := isText(b)
		if ok && len(s) == len(t) {
			return s == t, in.spend(len(s) / 64)
		}
		return false, nil
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case *big.Int:
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0, nil
	case *List:
		y, ok := b.(*List)
		if !ok {
			return false, nil
		}
		return equalItems(in, x.items, y.items, depth)
	case *tuple:
		y, ok := b.(*tuple)
		if !ok {
			return false, nil
		}
		return equalItems(in, x.items, y.items, depth)
	case *Dict:
		return equalDicts(in, x, b, depth)
	case *integers:
		y, ok := b.(*integers)
		return ok && x.len() == y.len() && (x.len() == 0 || x.start == y.start && (x.len() == 1 || x.step == y.step)), nil
	case *undefined:
		_, ok := b.(*undefined)
		return ok, nil
	}
	if m, ok := toInt(a); ok {
		if n, ok := toInt(b); ok {
			return m == n, nil
		}
	}
	if f, ok := toFloat(a); ok {
		g, ok := toFloat(b)
		return ok && f == g, nil
	}
	return a == b, nil
}

func equalItems(in *interp, a, b []Value, depth int) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	for i := range a {
		if same, err := equal(in, a[i], b[i], depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func equalDicts(in *interp, a *Dict, b Value, depth int) (bool, error) {
	d, ok := b.(*Dict)
	if !ok || len(d.keys) != len(a.keys) {
		return false, nil
	}
	for i, k := range a.keys {
		v, ok, err := d.get(in, k)
		if err != nil || !ok {
			return false, err
		}
		if same, err := equal(in, a.values[i], v, depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// order returns -1, 0 or 1, or unordered, for values that Python orders.
func order(in *interp, a, b Value, depth int) (int, error) {
	if err := in.spend(1); err != nil {
		return 0, err
	}
	if depth > maxDeep {
		return 0, errors.New("lists are nested too deep to be compared")
	}
	if s, ok := isText(a); ok {
		if t, ok := isText(b); ok {
			return strings.Compare(s, t), in.spend(min(len(s), len(t)) / 64)
		}
	}
	if m, ok := toInt(a); ok {
		if n, ok := toInt(b); ok {
			return cmp.Compare(m, n), nil
		}
	}
	if f, ok := toFloat(a); ok {
		if g, ok := toFloat(b); ok {
			if f != f || g != g {
				return unordered, nil
			}
			return cmp.Compare(f, g), nil
		}
	}
	switch x := a.(type) {
	case *List:
		if y, ok := b.(*List); ok {
			return orderItems(in, x.items, y.items, depth)
		}
	case *tuple:
		if y, ok := b.(*tuple); ok {
			return orderItems(in, x.items, y.items, depth)
		}
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*undefined); ok {
			return 0, u
		}
	}
	return 0, fmt.Errorf("%s and %s have no order", typeName(a), typeName(b))
}

func orderItems(in *interp, a, b []Value, depth int) (int, error) {
	for i := range min(len(a), len(b)) {
		same, err := equal(in, a[i], b[i], depth+1)
		if err != nil {
			return 0, err
		}
		if !same {
			return order(in, a[i], b[i], depth+1)
		}
	}
	return cmp.Compare(len(a), len(b)), nil
}

// contains is Python's: v in list.
func contains(in *interp, list, v Value) (bool, error) {
	if s, ok := isText(list); ok {
		t, ok := isText(v)
		if !ok {
			return false, wanted("a string to look for in a string", v)
		}
		return strings.Contains(s, t), in.spend(len(s) / 32)
	}
	switch l := list.(type) {
	case *Dict:
		_, ok, err := l.get(in, v)
		return ok, err
	case *namespace:
		return false, fmt.Errorf("a namespace cannot be searched")
	case *integers:
		if n, ok := toInt(v); ok {
			d := n - l.start
			return d%l.step == 0 && d/l.step >= 0 && d/l.step < l.len(), nil
		}
	}
	next, err := iterate(list)
	if err != nil {
		return false, err
	}
	for {
		x, ok, err := next()
		if err != nil || !ok {
			return false, err
		}
		if same, err := equal(in, x, v, 0); err != nil || same {
			return same, err
		}
	}
}

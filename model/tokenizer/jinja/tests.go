package jinja

import (
	"math/big"
)

// testFunc is a test: v is name(a).
type testFunc func(s *scope, v Value, a args) (bool, error)

var tests map[string]testFunc

func init() {
	tests = map[string]testFunc{
		"defined":   is(func(v Value) bool { _, ok := v.(*undefined); return !ok }),
		"undefined": is(func(v Value) bool { _, ok := v.(*undefined); return ok }),
		"none":      is(func(v Value) bool { return v == nil }),
		"true":      is(func(v Value) bool { return v == true }),
		"false":     is(func(v Value) bool { return v == false }),
		"boolean":   is(func(v Value) bool { _, ok := v.(bool); return ok }),
		"integer":   is(isInteger),
		"float":     is(func(v Value) bool { _, ok := v.(float64); return ok }),
		"number":    is(func(v Value) bool { _, ok := toFloat(v); return ok }),
		"string":    is(func(v Value) bool { _, ok := isText(v); return ok }),
		"escaped":   is(func(v Value) bool { _, ok := v.(markup); return ok }),
		"mapping":   is(func(v Value) bool { _, ok := v.(*Dict); return ok }),
		"sequence":  is(isSequence),
		"iterable":  is(func(v Value) bool { _, err := iterate(v); return err == nil }),
		"callable":  is(isCallable),
		"odd":       remainder(1), "even": remainder(0), "divisibleby": divisibleTest,
		"lower": viaMethodTest("islower"), "upper": viaMethodTest("isupper"),
		"sameas": sameTest, "in": inTest, "filter": knownTest(func(name string) bool { return filters[name] != nil }),
		"test": knownTest(func(name string) bool { return tests[name] != nil }),
	}
	for op, names := range map[string][]string{
		"==": {"==", "eq", "equalto"}, "!=": {"!=", "ne"}, ">": {">", "gt", "greaterthan"}, ">=": {">=", "ge"},
		"<": {"<", "lt", "lessthan"}, "<=": {"<=", "le"},
	} {
		for _, name := range names {
			tests[name] = func(s *scope, v Value, a args) (bool, error) {
				other, err := a.one()
				if err != nil {
					return false, err
				}
				return compare(s.in, op, v, other)
			}
		}
	}
}

func is(what func(Value) bool) testFunc {
	return func(_ *scope, v Value, a args) (bool, error) { return what(v), a.none() }
}

func isInteger(v Value) bool {
	switch v.(type) {
	case int64, *big.Int:
		return true
	}
	return false
}

// isSequence: it has a length and can be indexed, as a dict can.
func isSequence(v Value) bool {
	switch v.(type) {
	case string, markup, *List, *tuple, *Dict, *integers, *undefined:
		return true
	}
	return false
}

func isCallable(v Value) bool {
	switch v.(type) {
	case *method, *function, *macro, *loop, *cycler, *joiner, *undefined:
		return true
	}
	return false
}

func remainder(want int64) testFunc {
	return func(s *scope, v Value, a args) (bool, error) {
		if err := a.none(); err != nil {
			return false, err
		}
		return remains(s.in, v, int64(2), want)
	}
}

func remains(in *interp, v, by Value, want int64) (bool, error) {
	if _, ok := toFloat(v); !ok {
		return false, wanted("a number", v)
	}
	r, err := binary(in, "%", v, by)
	if err != nil {
		return false, err
	}
	return equal(in, r, want, 0)
}

func divisibleTest(s *scope, v Value, a args) (bool, error) {
	b, err := a.bind(1, "num")
	if err != nil {
		return false, err
	}
	return remains(s.in, v, b[0], 0)
}

func viaMethodTest(name string) testFunc {
	return func(s *scope, v Value, a args) (bool, error) {
		if err := a.none(); err != nil {
			return false, err
		}
		text, err := toText(s.in, v)
		if err != nil {
			return false, err
		}
		x, err := textMethods[name](s, text, args{})
		return x == true, err
	}
}

// sameTest is Python's is. Numbers and strings are values here, and the same if they are
// equal and of one type.
func sameTest(s *scope, v Value, a args) (bool, error) {
	b, err := a.bind(1, "other")
	if err != nil {
		return false, err
	}
	if f, ok := v.(*big.Int); ok {
		g, ok := b[0].(*big.Int)
		return ok && f.Cmp(g) == 0, nil
	}
	if t, ok := v.(*tuple); ok && len(t.items) == 0 {
		g, ok := b[0].(*tuple)
		return ok && len(g.items) == 0, nil
	}
	return v == b[0], s.in.spend(1)
}

func inTest(s *scope, v Value, a args) (bool, error) {
	b, err := a.bind(1, "seq")
	if err != nil {
		return false, err
	}
	return contains(s.in, b[0], v)
}

func knownTest(known func(string) bool) testFunc {
	return func(_ *scope, v Value, a args) (bool, error) {
		name, ok := isText(v)
		return ok && known(name), a.none()
	}
}

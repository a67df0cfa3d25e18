package jinja

import (
	"fmt"
	"strings"
)

func (e *constExpr) eval(*scope) (Value, error) { return e.value, nil }

func (e *nameExpr) eval(s *scope) (Value, error) {
	if err := s.in.spend(1); err != nil {
		return nil, at(e.at, err)
	}
	if v, ok := s.lookup(e.name); ok {
		return v, nil
	}
	return undefinedf("%q is undefined", e.name), nil
}

func (e *capturedExpr) eval(s *scope) (Value, error) {
	v, _ := s.lookup(capturedName)
	return v, nil
}

// evalAll evaluates a list of expressions.
func (s *scope) evalAll(exprs []expr) ([]Value, error) {
	if len(exprs) == 0 {
		return nil, nil
	}
	if err := s.in.alloc(16 * len(exprs)); err != nil {
		return nil, err
	}
	out := make([]Value, len(exprs))
	for i, e := range exprs {
		if err := s.in.spend(1); err != nil {
			return nil, err
		}
		var err error
		if out[i], err = e.eval(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *tupleExpr) eval(s *scope) (Value, error) {
	items, err := s.evalAll(e.items)
	return &tuple{items: items}, at(e.at, err)
}

func (e *listExpr) eval(s *scope) (Value, error) {
	items, err := s.evalAll(e.items)
	return &List{items}, at(e.at, err)
}

func (e *dictExpr) eval(s *scope) (Value, error) {
	keys, err := s.evalAll(e.keys)
	if err != nil {
		return nil, at(e.at, err)
	}
	values, err := s.evalAll(e.values)
	if err != nil {
		return nil, at(e.at, err)
	}
	d := &Dict{}
	for i, k := range keys {
		if err := d.set(s.in, k, values[i]); err != nil {
			return nil, at(e.at, err)
		}
	}
	return d, nil
}

func (e *condExpr) eval(s *scope) (Value, error) {
	c, err := e.cond.eval(s)
	switch {
	case err != nil:
		return nil, err
	case truth(c):
		return e.then.eval(s)
	case e.otherwise == nil:
		return undefinedf("the inline if-expression has no else and its condition was false"), nil
	}
	return e.otherwise.eval(s)
}

func (e *logicExpr) eval(s *scope) (Value, error) {
	v, err := e.left.eval(s)
	if err != nil || truth(v) == e.or {
		return v, err
	}
	return e.right.eval(s)
}

func (e *notExpr) eval(s *scope) (Value, error) {
	v, err := e.of.eval(s)
	return !truth(v), err
}

func (e *compareExpr) eval(s *scope) (Value, error) {
	left, err := e.first.eval(s)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		right, err := e.rest[i].eval(s)
		if err != nil {
			return nil, err
		}
		ok, err := compare(s.in, op, left, right)
		if err != nil || !ok {
			return false, at(e.at, err)
		}
		left = right
	}
	return true, nil
}

func (e *binaryExpr) eval(s *scope) (Value, error) {
	left, err := e.left.eval(s)
	if err != nil {
		return nil, err
	}
	right, err := e.right.eval(s)
	if err != nil {
		return nil, err
	}
	if err := s.in.spend(1); err != nil {
		return nil, at(e.at, err)
	}
	v, err := binary(s.in, e.op, left, right)
	return v, at(e.at, err)
}

func (e *concatExpr) eval(s *scope) (Value, error) {
	var b strings.Builder
	for _, part := range e.parts {
		v, err := part.eval(s)
		if err != nil {
			return nil, err
		}
		text, err := toText(s.in, v)
		if err == nil {
			err = s.in.alloc(len(text))
		}
		if err != nil {
			return nil, at(e.at, err)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func (e *signExpr) eval(s *scope) (Value, error) {
	v, err := e.of.eval(s)
	if err != nil {
		return nil, err
	}
	v, err = signed(v, e.neg)
	return v, at(e.at, err)
}

func (e *attrExpr) eval(s *scope) (Value, error) {
	of, err := e.of.eval(s)
	if err != nil {
		return nil, err
	}
	if err := s.in.spend(1); err != nil {
		return nil, at(e.at, err)
	}
	v, err := attribute(of, e.name)
	return v, at(e.at, err)
}

func (e *itemExpr) eval(s *scope) (Value, error) {
	of, err := e.of.eval(s)
	if err != nil {
		return nil, err
	}
	key, err := e.key.eval(s)
	if err != nil {
		return nil, err
	}
	if err := s.in.spend(1); err != nil {
		return nil, at(e.at, err)
	}
	v, err := item(s.in, of, key)
	return v, at(e.at, err)
}

func (e *sliceExpr) eval(s *scope) (Value, error) {
	if e.of == nil {
		return nil, at(e.at, fmt.Errorf("a slice stands in no subscript"))
	}
	of, err := e.of.eval(s)
	if err != nil {
		return nil, err
	}
	var bounds [3]Value
	for i, b := range e.bounds {
		if b != nil {
			if bounds[i], err = b.eval(s); err != nil {
				return nil, err
			}
		}
	}
	v, err := slice(s.in, of, bounds)
	return v, at(e.at, err)
}

func (e *callExpr) eval(s *scope) (Value, error) {
	f, err := e.of.eval(s)
	if err != nil {
		return nil, err
	}
	a, err := e.args.eval(s)
	if err != nil {
		return nil, at(e.at, err)
	}
	v, err := call(s, f, a)
	return v, at(e.at, err)
}

func (e *filterExpr) eval(s *scope) (Value, error) {
	v, err := e.of.eval(s)
	if err != nil {
		return nil, err
	}
	a, err := e.args.eval(s)
	if err == nil {
		if e.apply == nil {
			err = fmt.Errorf("no filter is named %q", e.name)
		} else if v, err = e.apply(s, v, a); err != nil {
			err = named("filter", e.name, err)
		}
	}
	return v, at(e.at, err)
}

func (e *testExpr) eval(s *scope) (Value, error) {
	v, err := e.of.eval(s)
	if err != nil {
		return nil, err
	}
	a, err := e.args.eval(s)
	if err != nil {
		return nil, at(e.at, err)
	}
	if e.apply == nil {
		return nil, at(e.at, fmt.Errorf("no test is named %q", e.name))
	}
	ok, err := e.apply(s, v, a)
	if err != nil {
		return nil, at(e.at, named("test", e.name, err))
	}
	return ok, nil
}

package jinja

import (
	"errors"
	"fmt"
	"slices"
)

// macro is a macro, or the caller of a call block, with the scope where it stands.
type macro struct {
	sig   *signature
	body  []stmt
	scope *scope
}

func (x *macroStmt) exec(s *scope) error {
	if err := s.begin(x.at); err != nil {
		return err
	}
	s.set(x.sig.name, &macro{x.sig, x.body, s})
	return nil
}

func (x *callStmt) exec(s *scope) error {
	if err := s.begin(x.at); err != nil {
		return err
	}
	f, err := x.call.of.eval(s)
	if err != nil {
		return err
	}
	a, err := x.call.args.eval(s)
	if err != nil {
		return at(x.at, err)
	}
	if slices.Contains(a.names, "caller") {
		return at(x.at, errors.New("{% call %} gives the argument caller itself"))
	}
	a.names = append(slices.Clone(a.names), "caller")
	a.values = append(slices.Clone(a.values), &macro{x.sig, x.body, s})
	v, err := call(s, f, a)
	if err != nil {
		return at(x.at, err)
	}
	text, err := toText(s.in, v)
	if err == nil {
		err = s.in.write(text)
	}
	return at(x.at, err)
}

// call calls a value.
func call(s *scope, f Value, a args) (Value, error) {
	switch f := f.(type) {
	case *method:
		v, err := f.call(s, f.self, a)
		if err != nil {
			return nil, named(typeName(f.self)+" method", f.name, err)
		}
		return v, nil
	case *function:
		v, err := f.call(s, a)
		if err != nil {
			return nil, named("function", f.name, err)
		}
		return v, nil
	case *macro:
		return f.invoke(s.in, a)
	case *loop:
		return f.again(a)
	case *cycler:
		return f.next()
	case *joiner:
		return f.next(), nil
	case *undefined:
		return nil, f
	}
	return nil, fmt.Errorf("%s is called, but it is no function", typeName(f))
}

// invoke returns what the macro writes.
func (m *macro) invoke(in *interp, a args) (Value, error) {
	if err := in.enter("macro " + m.sig.name); err != nil {
		return nil, err
	}
	defer in.leave()
	s := m.scope.inner()
	if err := m.bind(s, a); err != nil {
		return nil, fmt.Errorf("macro %s: %w", m.sig.name, err)
	}
	text, err := in.capture(func() error { return s.run(m.body) })
	return text, err
}

// bind gives the macro's parameters their values.
func (m *macro) bind(s *scope, a args) error {
	sig := m.sig
	if err := s.in.alloc(64 * len(sig.params) * (1 + len(a.names))); err != nil {
		return err
	}
	given := min(len(a.pos), len(sig.params))
	left := args{}
	byName := map[string]Value{}
	for i, name := range a.names {
		if at := slices.Index(sig.params, name); at >= given {
			byName[name] = a.values[i]
		} else {
			left.names, left.values = append(left.names, name), append(left.values, a.values[i])
		}
	}
	for i, name := range sig.params {
		v, ok := byName[name]
		switch d := i - (len(sig.params) - len(sig.defaults)); {
		case i < given:
			v = a.pos[i]
		case ok:
		case d >= 0:
			var err error
			if v, err = sig.defaults[d].eval(s); err != nil {
				return err
			}
		default:
			v = undefinedf("the parameter %s was not given", name)
		}
		s.set(name, v)
	}
	if err := m.bindCaller(s, &left); err != nil {
		return err
	}
	return m.bindRest(s, left, a.pos[given:])
}

// bindCaller takes the caller out of what is left of the arguments.
func (m *macro) bindCaller(s *scope, left *args) error {
	if slices.Contains(m.sig.params, "caller") || !m.sig.caller {
		return nil
	}
	caller := Value(undefinedf("no caller is given"))
	if i := slices.Index(left.names, "caller"); i >= 0 {
		caller = left.values[i]
		left.names, left.values = slices.Delete(left.names, i, i+1), slices.Delete(left.values, i, i+1)
	}
	s.set("caller", caller)
	return nil
}

// bindRest sets varargs and kwargs, or refuses what is left of the arguments.
func (m *macro) bindRest(s *scope, left args, rest []Value) error {
	switch {
	case m.sig.kwargs:
		d := &Dict{}
		for i, name := range left.names {
			if err := d.set(s.in, name, left.values[i]); err != nil {
				return err
			}
		}
		s.set("kwargs", d)
	case len(left.names) > 0:
		return fmt.Errorf("takes no argument named %q", left.names[0])
	}
	switch {
	case m.sig.varargs:
		s.set("varargs", &tuple{items: rest})
	case len(rest) > 0:
		return fmt.Errorf("takes at most %d arguments, %d are given", len(m.sig.params), len(m.sig.params)+len(rest))
	}
	return nil
}

func (m *macro) member(name string) (Value, bool) {
	switch name {
	case "name":
		return m.sig.name, true
	case "arguments":
		t := &tuple{}
		for _, p := range m.sig.params {
			t.items = append(t.items, p)
		}
		return t, true
	case "caller":
		return m.sig.caller, true
	case "catch_kwargs":
		return m.sig.kwargs, true
	case "catch_varargs":
		return m.sig.varargs, true
	}
	return nil, false
}

package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// args are the arguments of a call.
type args struct {
	pos    []Value
	names  []string
	values []Value // of names
}

// eval evaluates arguments and spends a step for the call.
func (a *argList) eval(s *scope) (args, error) {
	if err := s.in.spend(1); err != nil {
		return args{}, err
	}
	pos, err := s.evalAll(a.exprs)
	if err != nil {
		return args{}, err
	}
	out := args{pos: pos, names: a.names}
	if a.rest != nil {
		rest, err := a.rest.eval(s)
		if err != nil {
			return args{}, err
		}
		more, err := toList(s.in, rest)
		if err != nil {
			return args{}, fmt.Errorf("*: %w", err)
		}
		if err := s.in.alloc(16 * (len(pos) + len(more))); err != nil {
			return args{}, err
		}
		out.pos = slices.Concat(pos, more)
	}
	if out.values, err = s.evalAll(a.values); err != nil || a.named == nil {
		return out, err
	}
	named, err := a.named.eval(s)
	if err != nil {
		return args{}, err
	}
	d, ok := named.(*Dict)
	if !ok {
		return args{}, fmt.Errorf("** wants a dict, found %s", typeName(named))
	}
	if err := s.in.alloc(32 * len(d.keys)); err != nil {
		return args{}, err
	}
	out.names, out.values = slices.Clone(out.names), slices.Clone(out.values)
	for i, k := range d.keys {
		key, ok := k.(string)
		if !ok || slices.Contains(a.names, key) {
			return args{}, fmt.Errorf("**: the key %v is no string or is given twice", k)
		}
		out.names, out.values = append(out.names, key), append(out.values, d.values[i])
	}
	return out, nil
}

// missing stands for an argument that is not given.
type missing struct{}

// bind puts arguments in the order of the parameters, of which the first required must be
// there. A parameter that begins with "/" can be given by place alone.
func (a args) bind(required int, params ...string) ([]Value, error) {
	if len(a.pos) > len(params) {
		return nil, fmt.Errorf("takes at most %d arguments, %d are given", len(params), len(a.pos))
	}
	out := make([]Value, len(params))
	for i := range out {
		out[i] = missing{}
	}
	copy(out, a.pos)
	for i, name := range a.names {
		at := slices.Index(params, name)
		if at < 0 {
			return nil, fmt.Errorf("takes no argument named %q", name)
		}
		if at < len(a.pos) {
			return nil, fmt.Errorf("the argument %s is given twice", name)
		}
		out[at] = a.values[i]
	}
	for i, v := range out[:required] {
		if v == (missing{}) {
			return nil, fmt.Errorf("the argument %s is missing", strings.TrimPrefix(params[i], "/"))
		}
	}
	return out, nil
}

// one returns the only argument, of a function with a single parameter by place.
func (a args) one() (Value, error) {
	v, err := a.bind(1, "/argument")
	if err != nil {
		return nil, err
	}
	return v[0], nil
}

// none fails if there are arguments.
func (a args) none() error {
	_, err := a.bind(0)
	return err
}

// intOr returns a whole number, otherwise if it is not given.
func intOr(v Value, otherwise int64) (int64, error) {
	if v == (missing{}) {
		return otherwise, nil
	}
	if n, ok := toInt(v); ok {
		return n, nil
	}
	return 0, wanted("a whole number", v)
}

// textOr returns a string, otherwise if it is not given.
func textOr(v Value, otherwise string) (string, error) {
	if v == (missing{}) {
		return otherwise, nil
	}
	if s, ok := isText(v); ok {
		return s, nil
	}
	return "", wanted("a string", v)
}

func truthOr(v Value, otherwise bool) bool {
	if v == (missing{}) {
		return otherwise
	}
	return truth(v)
}

func or(v, otherwise Value) Value {
	if v == (missing{}) {
		return otherwise
	}
	return v
}

func wanted(what string, v Value) error {
	if u, ok := v.(*undefined); ok {
		return u
	}
	return fmt.Errorf("want %s, found %s", what, typeName(v))
}

// named says which filter, test or method an error comes from, unless that is known.
func named(kind, name string, err error) error {
	var e *Error
	var r *Raised
	if errors.As(err, &e) || errors.As(err, &r) {
		return err
	}
	return fmt.Errorf("%s %s: %w", kind, name, err)
}

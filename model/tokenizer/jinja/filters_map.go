package jinja

import (
	"errors"
	"fmt"
)

// mapFilter applies a filter to each item, or takes an attribute of it.
func mapFilter(s *scope, v Value, a args) (Value, error) {
	if !truth(v) {
		return generated(nil), nil
	}
	apply, err := mapped(s, a)
	if err != nil {
		return nil, err
	}
	next, err := iterate(v)
	if err != nil {
		return nil, err
	}
	return generate(v, func() (Value, bool, error) {
		x, ok, err := next()
		if err == nil && ok {
			if err = s.in.spend(1); err == nil {
				x, err = apply(x)
			}
		}
		return x, ok && err == nil, err
	})
}

func mapped(s *scope, a args) (func(Value) (Value, error), error) {
	if len(a.pos) == 0 && len(a.names) > 0 {
		b, err := a.bind(0, "/", "attribute", "default")
		if err != nil {
			return nil, err
		}
		if b[1] != (missing{}) {
			return getter(s.in, b[1], or(b[2], nil)), nil
		}
	}
	if len(a.pos) == 0 {
		return nil, errors.New("wants the name of a filter, or attribute=…")
	}
	name, err := textOr(a.pos[0], "")
	if err != nil {
		return nil, err
	}
	f := filters[name]
	if f == nil {
		return nil, fmt.Errorf("no filter is named %q", name)
	}
	rest := args{a.pos[1:], a.names, a.values}
	return func(v Value) (Value, error) { return f(s, v, rest) }, nil
}

// selectFilter keeps the items for which a test is as wanted; without one, their truth.
// With attr, an attribute is tested.
func selectFilter(attr, want bool) filterFunc {
	return func(s *scope, v Value, a args) (Value, error) {
		if !truth(v) {
			return generated(nil), nil
		}
		get := getter(s.in, nil, nil)
		if attr {
			if len(a.pos) == 0 {
				return nil, errors.New("wants the name of an attribute")
			}
			get = getter(s.in, a.pos[0], nil)
			a.pos = a.pos[1:]
		}
		is, err := selecting(s, a)
		if err != nil {
			return nil, err
		}
		next, err := iterate(v)
		if err != nil {
			return nil, err
		}
		return generate(v, func() (Value, bool, error) {
			for {
				x, ok, err := next()
				if err == nil {
					err = s.in.spend(1)
				}
				if err != nil || !ok {
					return nil, false, err
				}
				k, err := get(x)
				if err != nil {
					return nil, false, err
				}
				found, err := is(k)
				if err != nil {
					return nil, false, err
				}
				if found == want {
					return x, true, nil
				}
			}
		})
	}
}

func selecting(s *scope, a args) (func(Value) (bool, error), error) {
	if len(a.pos) == 0 {
		return func(v Value) (bool, error) { return truth(v), nil }, nil
	}
	name, err := textOr(a.pos[0], "")
	if err != nil {
		return nil, err
	}
	f := tests[name]
	if f == nil {
		return nil, fmt.Errorf("no test is named %q", name)
	}
	rest := args{a.pos[1:], a.names, a.values}
	return func(v Value) (bool, error) { return f(s, v, rest) }, nil
}

func uniqueFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	list, err := toList(s.in, v)
	if err != nil {
		return nil, err
	}
	k, err := keys(s.in, list, or(b[1], nil), nil, truthOr(b[0], false))
	if err != nil {
		return nil, err
	}
	seen := &Dict{}
	var out []Value
	for i, v := range list {
		n := len(seen.keys)
		if err := seen.set(s.in, k[i], nil); err != nil {
			return nil, err
		}
		if len(seen.keys) > n {
			out = append(out, v)
		}
	}
	return generated(out), nil
}

// extreme is min (-1) or max (1).
func extreme(sign int) filterFunc {
	return func(s *scope, v Value, a args) (Value, error) {
		b, err := a.bind(0, "case_sensitive", "attribute")
		if err != nil {
			return nil, err
		}
		list, err := toList(s.in, v)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return undefinedf("no item is the smallest or largest, the sequence is empty"), nil
		}
		k, err := keys(s.in, list, or(b[1], nil), nil, truthOr(b[0], false))
		if err != nil {
			return nil, err
		}
		best := 0
		for i := range k {
			c, err := order(s.in, k[i], k[best], 0)
			if err != nil {
				return nil, err
			}
			if c == sign {
				best = i
			}
		}
		return list[best], nil
	}
}

func groupByFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(1, "attribute", "default", "case_sensitive")
	if err != nil {
		return nil, err
	}
	list, err := toList(s.in, v)
	if err != nil {
		return nil, err
	}
	attr, otherwise := b[0], or(b[1], nil)
	k, err := keys(s.in, list, attr, otherwise, truthOr(b[2], false))
	if err != nil {
		return nil, err
	}
	at, err := sortedBy(s.in, k, false)
	if err != nil {
		return nil, err
	}
	if err := s.in.alloc(64 * len(list)); err != nil {
		return nil, err
	}
	get := getter(s.in, attr, otherwise)
	var out []Value
	for i := 0; i < len(at); {
		group := &List{}
		first := k[at[i]]
		for ; i < len(at); i++ {
			same, err := equal(s.in, first, k[at[i]], 0)
			if err != nil {
				return nil, err
			}
			if !same && len(group.items) > 0 {
				break
			}
			group.items = append(group.items, list[at[i]])
		}
		key, err := get(group.items[0])
		if err != nil {
			return nil, err
		}
		out = append(out, &tuple{items: []Value{key, group}, group: true})
	}
	return &List{out}, nil
}

func sumFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "attribute", "start")
	if err != nil {
		return nil, err
	}
	list, err := toList(s.in, v)
	if err != nil {
		return nil, err
	}
	sum := or(b[1], int64(0))
	if _, ok := isText(sum); ok {
		return nil, errors.New("strings are not summed; use join")
	}
	get := getter(s.in, or(b[0], nil), nil)
	for _, x := range list {
		if x, err = get(x); err != nil {
			return nil, err
		}
		if err := s.in.spend(1); err != nil {
			return nil, err
		}
		if sum, err = binary(s.in, "+", sum, x); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

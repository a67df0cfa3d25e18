package jinja

import (
	"errors"
	"slices"
	"strings"
)

// folded makes capitals small, for comparisons without regard to them.
func folded(v Value) Value {
	switch v := v.(type) {
	case string:
		return lowerText(v)
	case markup:
		return markup(lowerText(string(v)))
	}
	return v
}

// keys computes what items are compared by.
func keys(in *interp, list []Value, attr, otherwise Value, sensitive bool) ([]Value, error) {
	get := getter(in, attr, otherwise)
	if err := in.alloc(32 * len(list)); err != nil {
		return nil, err
	}
	out := make([]Value, len(list))
	for i, v := range list {
		k, err := get(v)
		if err != nil {
			return nil, err
		}
		if t, ok := isText(k); ok && !sensitive {
			if err := in.alloc(3 * len(t)); err != nil {
				return nil, err
			}
			k = folded(k)
		}
		out[i] = k
	}
	return out, nil
}

// sortedBy returns the indexes of keys in their order; equal ones stay in theirs.
func sortedBy(in *interp, keys []Value, reverse bool) ([]int, error) {
	at := make([]int, len(keys))
	for i := range at {
		at[i] = i
	}
	var failed error
	slices.SortStableFunc(at, func(a, b int) int {
		if failed != nil {
			return 0
		}
		c, err := order(in, keys[a], keys[b], 0)
		switch {
		case err != nil:
			failed = err
			return 0
		case c == unordered:
			return 0
		case reverse:
			return -c
		}
		return c
	})
	return at, failed
}

func sortFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "reverse", "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	list, err := toList(s.in, v)
	if err != nil {
		return nil, err
	}
	by := []Value{or(b[2], nil)}
	if names, ok := isText(by[0]); ok { // several, in the order of their weight
		by = by[:0]
		for _, n := range strings.Split(names, ",") {
			by = append(by, n)
		}
	}
	if err := s.in.allocTimes(int64(len(by)+2), 64*len(list)); err != nil {
		return nil, err
	}
	tuples := make([]*tuple, len(list))
	all := make([]Value, len(list))
	for i := range tuples {
		tuples[i] = &tuple{}
		all[i] = tuples[i]
	}
	for _, attr := range by {
		k, err := keys(s.in, list, attr, nil, truthOr(b[1], false))
		if err != nil {
			return nil, err
		}
		for i, t := range tuples {
			t.items = append(t.items, k[i])
		}
	}
	at, err := sortedBy(s.in, all, truthOr(b[0], false))
	if err != nil {
		return nil, err
	}
	out, err := s.in.list(make([]Value, len(list)))
	if err != nil {
		return nil, err
	}
	for i, j := range at {
		out.items[i] = list[j]
	}
	return out, nil
}

func dictSortFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "case_sensitive", "by", "reverse")
	if err != nil {
		return nil, err
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, wanted("a dict", v)
	}
	part := d.keys
	switch or(b[1], "key") {
	case "key":
	case "value":
		part = d.values
	default:
		return nil, errors.New(`by must be "key" or "value"`)
	}
	list, err := dictItems(s.in, d)
	if err != nil {
		return nil, err
	}
	k, err := keys(s.in, part, nil, nil, truthOr(b[0], false))
	if err != nil {
		return nil, err
	}
	at, err := sortedBy(s.in, k, truthOr(b[2], false))
	if err != nil {
		return nil, err
	}
	out := make([]Value, len(at))
	for i, j := range at {
		out[i] = list.items[j]
	}
	return &List{out}, nil
}

// dictSorted is a dict with its keys in order.
func dictSorted(in *interp, d *Dict) (*Dict, error) {
	at, err := sortedBy(in, d.keys, false)
	if err != nil {
		return nil, err
	}
	out := &Dict{}
	for _, i := range at {
		if err := out.set(in, d.keys[i], d.values[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

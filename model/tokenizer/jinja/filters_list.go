package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func lengthFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	if t, ok := isText(v); ok {
		if err := s.in.spend(len(t) / 64); err != nil {
			return nil, err
		}
	}
	n, err := length(v)
	return n, err
}

func listFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	list, err := toList(s.in, v)
	return &List{list}, err
}

func firstFilter(_ *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	next, err := iterate(v)
	if err != nil {
		return nil, err
	}
	x, ok, err := next()
	if err != nil || ok {
		return x, err
	}
	return undefinedf("there is no first item, the sequence is empty"), nil
}

func lastFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	if g, ok := v.(*generator); ok {
		return nil, fmt.Errorf("%s has no last item; make a list of it (|list)", g.what)
	}
	list, err := toList(s.in, v)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return undefinedf("there is no last item, the sequence is empty"), nil
	}
	return list[len(list)-1], nil
}

func reverseFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	if _, ok := isText(v); ok {
		return slice(s.in, v, [3]Value{nil, nil, int64(-1)})
	}
	list, err := toList(s.in, v)
	if err != nil {
		return nil, err
	}
	l, err := s.in.list(slices.Clone(list))
	if err != nil {
		return nil, err
	}
	slices.Reverse(l.items)
	if _, ok := v.(*generator); ok {
		return l, nil
	}
	return generated(l.items), nil
}

func itemsFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case *undefined:
		return generated(nil), nil
	case *Dict:
		list, err := dictItems(s.in, v)
		if err != nil {
			return nil, err
		}
		return generated(list.items), nil
	}
	return nil, wanted("a dict", v)
}

// sliceFilter cuts a list into columns, batchFilter into rows.
func sliceFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(1, "slices", "fill_with")
	if err != nil {
		return nil, err
	}
	list, err := toList(s.in, v)
	if err != nil {
		return nil, err
	}
	n, err := intOr(b[0], 0)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errZero
	}
	if err := s.in.allocTimes(n, 64); err != nil {
		return nil, err
	}
	if err := s.in.alloc(16 * len(list)); err != nil {
		return nil, err
	}
	var out []Value
	for i := range int(max(n, 0)) {
		size := len(list) / (int(n) - i)
		if len(list)%(int(n)-i) > 0 {
			size++
		}
		part := slices.Clone(list[:size])
		list = list[size:]
		out = append(out, &List{part})
	}
	if fill := or(b[1], nil); fill != nil {
		for _, x := range out {
			if l := x.(*List); shortColumn(out, l) {
				l.items = append(l.items, fill)
			}
		}
	}
	return generated(out), nil
}

// shortColumn reports whether a column has no more items than the shortest there is: all
// of them are filled, where they are of one length.
func shortColumn(columns []Value, l *List) bool {
	return len(l.items) == len(columns[len(columns)-1].(*List).items)
}

func batchFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(1, "linecount", "fill_with")
	if err != nil {
		return nil, err
	}
	list, err := toList(s.in, v)
	if err != nil {
		return nil, err
	}
	n, err := intOr(b[0], 0)
	if err != nil {
		return nil, err
	}
	if n <= 0 {
		return nil, fmt.Errorf("batches of %d are not possible", n)
	}
	if err := s.in.alloc(64 * len(list)); err != nil {
		return nil, err
	}
	var out []Value
	for row := range slices.Chunk(list, int(min(n, maxBytes))) {
		row = slices.Clone(row)
		if fill := or(b[1], nil); fill != nil && int64(len(row)) < n {
			if err := s.in.allocTimes(n, 16); err != nil {
				return nil, err
			}
			row = append(row, slices.Repeat([]Value{fill}, int(n)-len(row))...)
		}
		out = append(out, &List{row})
	}
	return generated(out), nil
}

// getter reads an attribute "a.b.0" of an item; without one (nil) it returns the item. Where
// there is none, and otherwise is given, that stands for it.
func getter(in *interp, attr, otherwise Value) func(Value) (Value, error) {
	var parts []Value
	switch a := attr.(type) {
	case nil:
	case string:
		for _, p := range strings.Split(a, ".") {
			if n, err := strconv.ParseInt(p, 10, 64); err == nil && strings.IndexFunc(p, func(r rune) bool { return r < '0' || r > '9' }) < 0 {
				parts = append(parts, n)
			} else {
				parts = append(parts, p)
			}
		}
	default:
		parts = []Value{a}
	}
	return func(v Value) (Value, error) {
		for _, p := range parts {
			var err error
			if err = in.spend(1); err != nil {
				return nil, err
			}
			if v, err = item(in, v, p); err != nil {
				return nil, err
			}
			if _, ok := v.(*undefined); ok && otherwise != nil {
				v = otherwise
			}
		}
		return v, nil
	}
}

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

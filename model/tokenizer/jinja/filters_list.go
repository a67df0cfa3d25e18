package jinja

import (
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

package jinja

import (
	"errors"
	"fmt"
)

// loop is what the body of a for statement knows of its loop.
type loop struct {
	in      *interp
	of      Value // what is looped over
	next    iterator
	index   int64 // of the item at hand, from 0
	depth0  int64
	before  Value // the item before; of the first an undefined value
	item    Value
	peeked  bool // after and more are those of the next item
	after   Value
	more    bool
	counted int64 // items in all, -1: not known yet
	changed []Value
	recurse func(of Value, depth int64) (Value, error) // nil: not recursive
}

func (x *forStmt) exec(s *scope) error {
	of, err := x.list.eval(s)
	if err != nil {
		return at(x.at, err)
	}
	return at(x.at, x.run(s, of, 0))
}

// run loops over a value, in the scope of the statement.
func (x *forStmt) run(s *scope, of Value, depth int64) error {
	next, err := iterate(of)
	if err != nil {
		return err
	}
	l := &loop{in: s.in, of: of, next: next, index: -1, depth0: depth, before: undefinedf("there is no previous item"), counted: -1}
	if x.cond != nil {
		l.next, l.of = x.filtered(s, next), nil
	}
	if x.recursive {
		l.recurse = func(of Value, depth int64) (Value, error) {
			if err := s.in.enter("loop"); err != nil {
				return nil, err
			}
			defer s.in.leave()
			text, err := s.in.capture(func() error { return x.run(s, of, depth) })
			return text, err
		}
	}
	body := &scope{in: s.in, parent: s}
	done := false
	for {
		ok, err := l.advance()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := s.begin(x.at); err != nil {
			return err
		}
		body.names, body.values, body.index = body.names[:0], body.values[:0], nil
		body.set("loop", l)
		if err := x.target.assign(body, l.item); err != nil {
			return err
		}
		err = body.run(x.body)
		if errors.Is(err, errBreak) {
			break
		}
		if err != nil && !errors.Is(err, errContinue) {
			return err
		}
		done = done || err == nil
	}
	if !done { // no item went through the whole body: Jinja2 does not tell that from no item
		return s.inner().run(x.otherwise)
	}
	return nil
}

// filtered leaves out the items for which the loop's condition is false.
func (x *forStmt) filtered(s *scope, next iterator) iterator {
	return func() (Value, bool, error) {
		for {
			v, ok, err := next()
			if err != nil || !ok {
				return nil, false, err
			}
			if err := s.begin(x.at); err != nil {
				return nil, false, err
			}
			inner := s.inner()
			if err := x.target.assign(inner, v); err != nil {
				return nil, false, err
			}
			if c, err := x.cond.eval(inner); err != nil || truth(c) {
				return v, true, err
			}
		}
	}
}

// advance goes to the next item; ok is false after the last.
func (l *loop) advance() (ok bool, err error) {
	if err := l.peek(); err != nil || !l.more {
		return false, err
	}
	if l.index++; l.index > 0 {
		l.before = l.item
	}
	l.item, l.peeked, l.after = l.after, false, nil
	return true, nil
}

func (l *loop) peek() (err error) {
	if !l.peeked {
		l.after, l.more, err = l.next()
		l.peeked = true
	}
	return err
}

// rest gives the items that are left, when a template loops over the loop itself.
func (l *loop) rest() (Value, bool, error) {
	ok, err := l.advance()
	if err != nil || !ok {
		return nil, false, err
	}
	return &tuple{items: []Value{l.item, l}}, true, nil
}

// length counts the items; those of a generator are made for it.
func (l *loop) length() (int64, error) {
	if l.counted >= 0 {
		return l.counted, nil
	}
	if n, err := length(l.of); l.of != nil && err == nil {
		l.counted = n
		return n, nil
	}
	left, err := toList(l.in, &generator{next: l.next})
	if err != nil {
		return 0, err
	}
	l.next = items(left)
	l.counted = int64(len(left)) + l.index + 1
	if l.peeked && l.more {
		l.counted++
	}
	return l.counted, nil
}

// member is an attribute of the loop. Where finding it fails, it is undefined, with the
// reason for whoever uses it.
func (l *loop) member(name string) (Value, bool) {
	switch name {
	case "index":
		return l.index + 1, true
	case "index0":
		return l.index, true
	case "first":
		return l.index == 0, true
	case "depth":
		return l.depth0 + 1, true
	case "depth0":
		return l.depth0, true
	case "previtem":
		return l.before, true
	case "cycle":
		return &function{"loop.cycle", l.cycle}, true
	case "changed":
		return &function{"loop.changed", l.change}, true
	case "length", "revindex", "revindex0":
		n, err := l.length()
		if err != nil {
			return undefinedf("loop.%s: %v", name, err), true
		}
		return n - map[string]int64{"revindex": l.index, "revindex0": l.index + 1}[name], true
	case "last", "nextitem":
		if err := l.peek(); err != nil {
			return undefinedf("loop.%s: %v", name, err), true
		}
		switch {
		case name == "last":
			return !l.more, true
		case !l.more:
			return undefinedf("there is no next item"), true
		}
		return l.after, true
	}
	return nil, false
}

func (l *loop) cycle(_ *scope, a args) (Value, error) {
	if err := a.unnamed(); err != nil {
		return nil, err
	}
	if len(a.pos) == 0 {
		return nil, errors.New("no items to cycle through are given")
	}
	return a.pos[l.index%int64(len(a.pos))], nil
}

func (l *loop) change(s *scope, a args) (Value, error) {
	if err := a.unnamed(); err != nil {
		return nil, err
	}
	if l.changed != nil {
		same, err := equalItems(s.in, l.changed, a.pos, 0)
		if err != nil || same {
			return false, err
		}
	}
	l.changed = append([]Value{}, a.pos...)
	return true, nil
}

// again is loop(list) in a recursive loop.
func (l *loop) again(a args) (Value, error) {
	of, err := a.bind(1, "iterable")
	if err != nil {
		return nil, err
	}
	if l.recurse == nil {
		return nil, fmt.Errorf("the loop is called, but it is not {%% for … recursive %%}")
	}
	return l.recurse(of[0], l.depth0+1)
}

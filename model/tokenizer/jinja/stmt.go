package jinja

import (
	"errors"
	"fmt"
)

// stmt is text, a {{ print }} or a {% statement %}.
type stmt interface {
	exec(s *scope) error
}

// How break and continue leave the body of a loop.
var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

type (
	dataStmt struct {
		at   line
		text string
	}
	printStmt struct {
		at line
		of expr
	}
	printList []stmt
	ifStmt    struct {
		at        line
		branches  []branch
		otherwise []stmt
	}
	branch struct {
		cond expr
		body []stmt
	}
	forStmt struct {
		at              line
		target          target
		list, cond      expr // cond may be nil
		recursive       bool
		body, otherwise []stmt
	}
	setStmt struct {
		at     line
		target target
		value  expr
	}
	// captureStmt is {% set %}…{% endset %}, or, without a target, a {% filter %} block.
	captureStmt struct {
		at       line
		target   target
		filtered expr // of a capturedExpr; nil: no filter
		body     []stmt
	}
	withStmt struct {
		at      line
		targets []target
		values  []expr
		body    []stmt
	}
	macroStmt struct {
		at   line
		sig  *signature
		body []stmt
	}
	callStmt struct {
		at   line
		sig  *signature
		call *callExpr
		body []stmt
	}
	generationStmt struct {
		at   line
		body []stmt
	}
	jumpStmt struct {
		at line
		to error
	}
)

// scope holds the variables that a body has set. What it has not is looked for in the
// scopes around it, then among the template's variables, then among what all have.
type scope struct {
	in     *interp
	parent *scope
	names  []string
	values []Value
	index  map[string]int // nil while there are few names
}

func (s *scope) inner() *scope { return &scope{in: s.in, parent: s} }

func (s *scope) lookup(name string) (Value, bool) {
	in := s.in
	for ; s != nil; s = s.parent {
		if i := s.find(name); i >= 0 {
			return s.values[i], true
		}
	}
	if v, ok := in.vars[name]; ok {
		return v, true
	}
	v, ok := globals[name]
	return v, ok
}

func (s *scope) find(name string) int {
	if s.index != nil {
		if i, ok := s.index[name]; ok {
			return i
		}
		return -1
	}
	for i, n := range s.names {
		if n == name {
			return i
		}
	}
	return -1
}

func (s *scope) set(name string, v Value) {
	if i := s.find(name); i >= 0 {
		s.values[i] = v
		return
	}
	s.names, s.values = append(s.names, name), append(s.values, v)
	switch {
	case s.index != nil:
		s.index[name] = len(s.names) - 1
	case len(s.names) > 2*fewKeys:
		s.index = map[string]int{}
		for i, n := range s.names {
			s.index[n] = i
		}
	}
}

// target is what a value is assigned to.
type target interface {
	assign(s *scope, v Value) error
	binds(name string) bool
}

type (
	nameTarget string
	attrTarget struct{ of, attr string }
	// tupleTarget takes a list apart.
	tupleTarget struct{ items []target }
)

func (t nameTarget) assign(s *scope, v Value) error {
	s.set(string(t), v)
	return nil
}

func (t *attrTarget) assign(s *scope, v Value) error {
	of, _ := s.lookup(t.of)
	ns, ok := of.(*namespace)
	if !ok {
		return fmt.Errorf("%s.%s is set, but %s is no namespace", t.of, t.attr, t.of)
	}
	return ns.attrs.set(s.in, t.attr, v)
}

func (t *tupleTarget) assign(s *scope, v Value) error {
	if u, ok := v.(*undefined); ok {
		return u
	}
	list, err := toList(s.in, v)
	if err != nil {
		return err
	}
	if len(list) != len(t.items) {
		return fmt.Errorf("%d values are assigned to %d names", len(list), len(t.items))
	}
	for i, item := range t.items {
		if err := item.assign(s, list[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t nameTarget) binds(name string) bool { return string(t) == name }
func (t *attrTarget) binds(string) bool     { return false }
func (t *tupleTarget) binds(name string) bool {
	for _, item := range t.items {
		if item.binds(name) {
			return true
		}
	}
	return false
}

// run executes a body.
func (s *scope) run(body []stmt) error {
	for _, x := range body {
		if err := x.exec(s); err != nil {
			return err
		}
	}
	return nil
}

// begin spends a step for a statement.
func (s *scope) begin(at line) error {
	s.in.line = at
	return s.in.spend(1)
}

func (x *dataStmt) exec(s *scope) error { return at(x.at, s.in.write(x.text)) }

func (x *printStmt) exec(s *scope) error {
	if err := s.begin(x.at); err != nil {
		return err
	}
	v, err := x.of.eval(s)
	if err != nil {
		return at(x.at, err)
	}
	text, err := toText(s.in, v)
	if err == nil {
		err = s.in.write(text)
	}
	return at(x.at, err)
}

func (x printList) exec(s *scope) error { return s.run(x) }

func (x *ifStmt) exec(s *scope) error {
	for _, b := range x.branches {
		if err := s.begin(x.at); err != nil {
			return err
		}
		v, err := b.cond.eval(s)
		if err != nil {
			return at(x.at, err)
		}
		if truth(v) {
			return s.run(b.body)
		}
	}
	return s.run(x.otherwise)
}

func (x *setStmt) exec(s *scope) error {
	if err := s.begin(x.at); err != nil {
		return err
	}
	v, err := x.value.eval(s)
	if err == nil {
		err = x.target.assign(s, v)
	}
	return at(x.at, err)
}

const capturedName = "captured text" // variable that no template can name

func (x *captureStmt) exec(s *scope) error {
	if err := s.begin(x.at); err != nil {
		return err
	}
	inner := s.inner()
	text, err := s.in.capture(func() error { return inner.run(x.body) })
	if err != nil {
		return err
	}
	v := Value(text)
	if x.filtered != nil {
		inner.set(capturedName, text)
		if v, err = x.filtered.eval(inner); err != nil {
			return at(x.at, err)
		}
	}
	if x.target != nil {
		return at(x.at, x.target.assign(s, v))
	}
	if text, err = toText(s.in, v); err == nil {
		err = s.in.write(text)
	}
	return at(x.at, err)
}

func (x *withStmt) exec(s *scope) error {
	if err := s.begin(x.at); err != nil {
		return err
	}
	inner := s.inner()
	for i, t := range x.targets {
		v, err := x.values[i].eval(s)
		if err == nil {
			err = t.assign(inner, v)
		}
		if err != nil {
			return at(x.at, err)
		}
	}
	return inner.run(x.body)
}

func (x *generationStmt) exec(s *scope) error {
	if err := s.begin(x.at); err != nil {
		return err
	}
	return s.inner().run(x.body)
}

func (x *jumpStmt) exec(s *scope) error {
	if err := s.begin(x.at); err != nil {
		return err
	}
	return x.to
}

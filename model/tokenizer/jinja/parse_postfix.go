package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// postfix reads the attributes, subscripts and calls behind an expression.
func (p *parser) postfix(e expr) (expr, error) {
	for n := 0; ; n++ {
		if err := p.chain(n); err != nil {
			return nil, err
		}
		var err error
		switch {
		case p.op("."), p.op("["):
			e, err = p.subscript(e)
		case p.op("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// filterExpr reads the filters, tests and calls behind an expression.
func (p *parser) filterExpr(e expr) (expr, error) {
	for n := 0; ; n++ {
		if err := p.chain(n); err != nil {
			return nil, err
		}
		var err error
		switch {
		case p.skip(operator, "|"):
			e, err = p.filter(e)
		case p.word("is"):
			e, err = p.test(e)
		case p.op("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) subscript(of expr) (expr, error) {
	t := p.next()
	if t.text == "." {
		attr := p.next()
		switch attr.kind {
		case name:
			return &attrExpr{t.line, of, attr.text}, nil
		case integer:
			n, err := strconv.ParseInt(strings.ReplaceAll(attr.text, "_", ""), literalBase(attr.text), 64)
			if err != nil {
				return nil, at(attr.line, err)
			}
			return &itemExpr{t.line, of, &constExpr{attr.line, n}}, nil
		}
		return nil, at(attr.line, fmt.Errorf("found %v, want a name or number behind the dot", attr))
	}
	key := &tupleExpr{at: t.line}
	for !p.op("]") {
		if len(key.items) > 0 {
			if _, err := p.expect(operator, ","); err != nil {
				return nil, err
			}
		}
		item, err := p.subscribed()
		if err != nil {
			return nil, err
		}
		key.items = append(key.items, item)
	}
	p.next()
	if len(key.items) != 1 {
		for _, item := range key.items {
			if _, ok := item.(*sliceExpr); ok {
				return nil, at(t.line, errors.New("a slice can be no part of a tuple"))
			}
		}
		return &itemExpr{t.line, of, key}, nil
	}
	if s, ok := key.items[0].(*sliceExpr); ok {
		s.of = of
		return s, nil
	}
	return &itemExpr{t.line, of, key.items[0]}, nil
}

// subscribed reads an index or a slice.
func (p *parser) subscribed() (expr, error) {
	s := &sliceExpr{at: p.current().line}
	for i := range s.bounds {
		if !p.op(":") && !p.op("]") && !p.op(",") {
			e, err := p.expression()
			if err != nil {
				return nil, err
			}
			if i == 0 && !p.op(":") {
				return e, nil
			}
			s.bounds[i] = e
		}
		if i == 2 || !p.skip(operator, ":") {
			break
		}
	}
	return s, nil
}

func (p *parser) call(of expr) (expr, error) {
	c := &callExpr{at: p.current().line, of: of}
	var err error
	c.args, err = p.arguments()
	return c, err
}

// arguments reads (a, b, *c, d=1, **e).
func (p *parser) arguments() (a argList, err error) {
	line := p.next().line
	wrong := at(line, errors.New("arguments stand in another order than (a, *b, c=1, **d)"))
	err = p.items(")", func() error {
		var err error
		switch t := p.current(); {
		case p.skip(operator, "*"):
			if a.rest != nil || a.named != nil {
				return wrong
			}
			a.rest, err = p.expression()
		case p.skip(operator, "**"):
			if a.named != nil {
				return wrong
			}
			a.named, err = p.expression()
		case t.kind == name && p.tokens[p.at+1].kind == operator && p.tokens[p.at+1].text == "=":
			if a.named != nil {
				return wrong
			}
			p.at += 2
			for _, n := range a.names {
				if n == t.text {
					return at(t.line, fmt.Errorf("the argument %s is given twice", t.text))
				}
			}
			if err := p.chain(len(a.names)); err != nil {
				return err
			}
			var e expr
			e, err = p.expression()
			a.names, a.values = append(a.names, t.text), append(a.values, e)
		default:
			if a.rest != nil || a.named != nil || a.names != nil {
				return wrong
			}
			var e expr
			e, err = p.expression()
			a.exprs = append(a.exprs, e)
		}
		return err
	})
	return a, err
}

// filters reads filters, each with its |.
func (p *parser) filters(e expr) (expr, error) {
	for n := 0; p.skip(operator, "|"); n++ {
		if err := p.chain(n); err != nil {
			return nil, err
		}
		var err error
		if e, err = p.filter(e); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// filter reads a filter behind its |.
func (p *parser) filter(e expr) (expr, error) {
	t, full, err := p.dotted()
	if err != nil {
		return nil, err
	}
	f := &filterExpr{at: t.line, of: e, name: full, apply: filters[full]}
	if f.apply == nil && !p.soft {
		p.unknown = append(p.unknown, at(t.line, fmt.Errorf("no filter is named %q", full)))
	}
	if p.op("(") {
		f.args, err = p.arguments()
	}
	return f, err
}

func (p *parser) dotted() (first token, full string, err error) {
	first, err = p.expect(name, "")
	full = first.text
	for err == nil && p.skip(operator, ".") {
		var t token
		t, err = p.expect(name, "")
		full += "." + t.text
		if len(full) > 1000 {
			return first, full, at(t.line, errors.New("the name is too long"))
		}
	}
	return first, full, err
}

// test reads "is not name", with its arguments.
func (p *parser) test(of expr) (expr, error) {
	p.next()
	negated := p.skip(name, "not")
	first, full, err := p.dotted()
	if err != nil {
		return nil, err
	}
	t := &testExpr{at: first.line, of: of, name: full, apply: tests[full]}
	if t.apply == nil && !p.soft {
		p.unknown = append(p.unknown, at(first.line, fmt.Errorf("no test is named %q", full)))
	}
	switch c := p.current(); {
	case p.op("("):
		t.args, err = p.arguments()
	case c.kind == name && (c.text == "else" || c.text == "or" || c.text == "and"):
	case c.kind == name && c.text == "is":
		err = at(c.line, errors.New("tests cannot follow each other; put brackets around the first"))
	case c.kind == name, c.kind == str, c.kind == integer, c.kind == float, p.op("["), p.op("{"):
		var arg expr
		if arg, err = p.primary(); err == nil {
			arg, err = p.postfix(arg)
		}
		t.args.exprs = []expr{arg}
	}
	if negated {
		return &notExpr{first.line, t}, err
	}
	return t, err
}

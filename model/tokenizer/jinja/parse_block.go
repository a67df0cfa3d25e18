package jinja

import (
	"errors"
	"fmt"
	"slices"
)

// signature is what a macro or call block takes.
type signature struct {
	name     string
	params   []string
	defaults []expr // of the last params
	// Whether the body has these names, and so the macro what they stand for.
	caller, varargs, kwargs bool
}

// saw notes the name of a variable for the macros around it.
func (p *parser) saw(variable string) {
	for _, m := range p.macros {
		switch variable {
		case "caller":
			m.caller = true
		case "varargs":
			m.varargs = true
		case "kwargs":
			m.kwargs = true
		}
	}
}

// parameters reads (a, b=1).
func (p *parser) parameters(s *signature) error {
	if _, err := p.expect(operator, "("); err != nil {
		return err
	}
	for !p.op(")") {
		if len(s.params) > 0 {
			if _, err := p.expect(operator, ","); err != nil {
				return err
			}
		}
		t, err := p.expect(name, "")
		if err != nil {
			return err
		}
		if p.skip(operator, "=") {
			d, err := p.expression()
			if err != nil {
				return err
			}
			s.defaults = append(s.defaults, d)
		} else if len(s.defaults) > 0 {
			return at(t.line, fmt.Errorf("the parameter %s without a default follows one with a default", t.text))
		}
		if slices.Contains(s.params, t.text) {
			return at(t.line, fmt.Errorf("the parameter %s is there twice", t.text))
		}
		if err := p.chain(len(s.params)); err != nil {
			return err
		}
		s.params = append(s.params, t.text)
	}
	p.next()
	return nil
}

// body reads the body of a macro, which breaks out of no loop around it.
func (p *parser) body(s *signature, opener string) ([]stmt, error) {
	loops := p.loops
	p.loops = 0
	p.macros = append(p.macros, s)
	defer func() { p.loops, p.macros = loops, p.macros[:len(p.macros)-1] }()
	line := p.current().line
	body, err := p.block(opener)
	if i := slices.Index(s.params, "caller"); err == nil && s.caller && i >= 0 && i < len(s.params)-len(s.defaults) {
		err = at(line, errors.New("the parameter caller wants a default"))
	}
	return body, err
}

func (p *parser) macroStatement(line int) (stmt, error) {
	t, err := p.expect(name, "")
	if err != nil {
		return nil, err
	}
	s := &macroStmt{at: line, sig: &signature{name: t.text}}
	if err := p.parameters(s.sig); err != nil {
		return nil, err
	}
	s.body, err = p.body(s.sig, "macro")
	return s, err
}

func (p *parser) callStatement(line int) (stmt, error) {
	s := &callStmt{at: line, sig: &signature{name: "caller"}}
	if p.op("(") {
		if err := p.parameters(s.sig); err != nil {
			return nil, err
		}
	}
	e, err := p.expression()
	if err != nil {
		return nil, err
	}
	call, ok := e.(*callExpr)
	if !ok {
		return nil, at(line, errors.New("{% call %} wants the call of a macro"))
	}
	s.call = call
	s.body, err = p.body(s.sig, "call")
	return s, err
}

// generationStatement reads {% generation %}: its body is a macro that is called at once.
func (p *parser) generationStatement(line int) (stmt, error) {
	s := &generationStmt{at: line}
	var err error
	s.body, err = p.body(&signature{}, "generation")
	return s, err
}

func (p *parser) filterStatement(line int) (stmt, error) {
	f, err := p.filter(&capturedExpr{line})
	if err == nil {
		f, err = p.filters(f)
	}
	if err != nil {
		return nil, err
	}
	body, err := p.block("filter")
	return &captureStmt{line, nil, f, body}, err
}

func (p *parser) withStatement(line int) (stmt, error) {
	s := &withStmt{at: line}
	for p.current().kind != tagEnd {
		if len(s.targets) > 0 {
			if _, err := p.expect(operator, ","); err != nil {
				return nil, err
			}
		}
		t, err := p.target(false)
		if err != nil {
			return nil, err
		}
		if _, err := p.expect(operator, "="); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		s.targets, s.values = append(s.targets, t), append(s.values, v)
	}
	var err error
	s.body, err = p.block("with")
	return s, err
}

func (p *parser) printStatement(line int) (stmt, error) {
	var out printList
	for p.current().kind != tagEnd {
		if len(out) > 0 {
			if _, err := p.expect(operator, ","); err != nil {
				return nil, err
			}
		}
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		out = append(out, &printStmt{line, e})
	}
	return out, nil
}

// autoescapeStatement reads {% autoescape false %}, which changes nothing; with escaping,
// which no chat template wants, it is refused.
func (p *parser) autoescapeStatement(line int) (stmt, error) {
	e, err := p.expression()
	if err != nil {
		return nil, err
	}
	if c, ok := e.(*constExpr); !ok || truth(c.value) {
		return nil, at(line, errors.New("{% autoescape %} is supported with false alone: a prompt is not HTML"))
	}
	body, err := p.block("autoescape")
	return &withStmt{at: line, body: body}, err
}

// blockStatement reads {% block name %}, which nothing can override in a template that
// stands alone.
func (p *parser) blockStatement(line int) (stmt, error) {
	return nil, at(line, errors.New("{% block %} is not supported: a chat template stands alone, with nothing to override"))
}

package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// expression reads a whole expression, conditional ones included.
func (p *parser) expression() (expr, error) {
	defer func(n int) { p.depth = n }(p.depth)
	if err := p.nest(); err != nil {
		return nil, err
	}
	line, unknown := p.current().line, len(p.unknown)
	e, err := p.or()
	for n := 0; err == nil && p.skip(name, "if"); n++ {
		if err := p.chain(n); err != nil {
			return nil, err
		}
		c := &condExpr{at: line, then: e}
		if c.cond, err = p.or(); err != nil {
			return nil, err
		}
		if p.skip(name, "else") {
			c.otherwise, err = p.expression()
		}
		p.unknown = p.unknown[:unknown] // known when they are reached
		e = c
	}
	return e, err
}

// tuple reads an expression, or several with commas between them.
func (p *parser) tuple(conditional bool) (expr, error) {
	t := &tupleExpr{at: p.current().line}
	for {
		e, err := p.tupleItem(conditional)
		if err != nil {
			return nil, err
		}
		t.items = append(t.items, e)
		if !p.skip(operator, ",") {
			if len(t.items) == 1 && !t.comma {
				return e, nil
			}
			return t, nil
		}
		t.comma = true
		if c := p.current(); c.kind == printEnd || c.kind == tagEnd || p.op(")") {
			return t, nil
		}
	}
}

func (p *parser) tupleItem(conditional bool) (expr, error) {
	if conditional {
		return p.expression()
	}
	defer func(n int) { p.depth = n }(p.depth)
	if err := p.nest(); err != nil {
		return nil, err
	}
	return p.or()
}

func (p *parser) or() (expr, error)  { return p.logical("or", p.and) }
func (p *parser) and() (expr, error) { return p.logical("and", p.not) }

func (p *parser) logical(op string, operand func() (expr, error)) (expr, error) {
	line := p.current().line
	left, err := operand()
	for n := 0; err == nil && p.skip(name, op); n++ {
		if err := p.chain(n); err != nil {
			return nil, err
		}
		l := &logicExpr{at: line, or: op == "or", left: left}
		l.right, err = operand()
		left = l
	}
	return left, err
}

func (p *parser) not() (expr, error) {
	if !p.word("not") {
		return p.compare()
	}
	defer func(n int) { p.depth = n }(p.depth)
	if err := p.nest(); err != nil {
		return nil, err
	}
	line := p.next().line
	e, err := p.not()
	return &notExpr{line, e}, err
}

func (p *parser) compare() (expr, error) {
	c := &compareExpr{at: p.current().line}
	var err error
	if c.first, err = p.sum(); err != nil {
		return nil, err
	}
	for {
		op := p.comparison()
		if op == "" {
			if len(c.ops) == 0 {
				return c.first, nil
			}
			return c, nil
		}
		right, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, right)
	}
}

// comparison passes an operator that compares, "" if there is none.
func (p *parser) comparison() string {
	t := p.current()
	switch {
	case t.kind == operator && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.text), t.kind == name && t.text == "in":
		p.next()
		return t.text
	case t.kind == name && t.text == "not" && p.tokens[p.at+1].kind == name && p.tokens[p.at+1].text == "in":
		p.at += 2
		return "not in"
	}
	return ""
}

func (p *parser) sum() (expr, error)     { return p.binary(p.concat, "+", "-") }
func (p *parser) product() (expr, error) { return p.binary(p.power, "*", "/", "//", "%") }
func (p *parser) power() (expr, error) {
	return p.binary(func() (expr, error) { return p.unary(true) }, "**")
}

func (p *parser) binary(operand func() (expr, error), ops ...string) (expr, error) {
	line := p.current().line
	left, err := operand()
	for n := 0; err == nil; n++ {
		t := p.current()
		if t.kind != operator || !slices.Contains(ops, t.text) {
			break
		}
		if err := p.chain(n); err != nil {
			return nil, err
		}
		p.next()
		b := &binaryExpr{at: line, op: t.text, left: left}
		b.right, err = operand()
		left, line = b, p.current().line
	}
	return left, err
}

func (p *parser) concat() (expr, error) {
	c := &concatExpr{at: p.current().line}
	for {
		e, err := p.product()
		if err != nil {
			return nil, err
		}
		c.parts = append(c.parts, e)
		if !p.skip(operator, "~") {
			if len(c.parts) == 1 {
				return e, nil
			}
			return c, nil
		}
	}
}

// unary reads a sign or a primary, with what stands behind it.
func (p *parser) unary(filtered bool) (e expr, err error) {
	if t := p.current(); t.kind == operator && (t.text == "-" || t.text == "+") {
		defer func(n int) { p.depth = n }(p.depth)
		if err := p.nest(); err != nil {
			return nil, err
		}
		p.next()
		if e, err = p.unary(false); err != nil {
			return nil, err
		}
		e = &signExpr{t.line, t.text == "-", e}
	} else if e, err = p.primary(); err != nil {
		return nil, err
	}
	if e, err = p.postfix(e); err == nil && filtered {
		e, err = p.filterExpr(e)
	}
	return e, err
}

func (p *parser) primary() (expr, error) {
	t := p.next()
	switch t.kind {
	case name:
		switch t.text {
		case "true", "True":
			return &constExpr{t.line, true}, nil
		case "false", "False":
			return &constExpr{t.line, false}, nil
		case "none", "None":
			return &constExpr{t.line, nil}, nil
		}
		p.saw(t.text)
		return &nameExpr{t.line, t.text}, nil
	case str:
		text := t.text
		if p.current().kind == str { // 'a' 'b' is 'ab'
			var b strings.Builder
			b.WriteString(text)
			for p.current().kind == str {
				b.WriteString(p.next().text)
			}
			text = b.String()
		}
		return &constExpr{t.line, text}, nil
	case integer:
		n, err := strconv.ParseInt(strings.ReplaceAll(t.text, "_", ""), literalBase(t.text), 64)
		if err != nil {
			return nil, at(t.line, fmt.Errorf("the number %.40s is beyond 64 bits", t.text))
		}
		return &constExpr{t.line, n}, nil
	case float:
		f, _ := strconv.ParseFloat(strings.ReplaceAll(t.text, "_", ""), 64) // beyond its range: infinite, as in Python
		return &constExpr{t.line, f}, nil
	case operator:
		switch t.text {
		case "(":
			return p.parentheses(t.line)
		case "[":
			return p.listLiteral(t.line)
		case "{":
			return p.dictLiteral(t.line)
		}
	}
	if t.kind == printEnd || t.kind == tagEnd {
		return nil, at(t.line, errors.New("an expression is missing"))
	}
	return nil, at(t.line, fmt.Errorf("found %v, want an expression", t))
}

// literalBase is 0, which goes by the prefix, but 10 for 00, which is no octal number.
func literalBase(text string) int {
	if strings.Trim(text, "0_") == "" {
		return 10
	}
	return 0
}

func (p *parser) parentheses(line int) (expr, error) {
	if p.skip(operator, ")") {
		return &tupleExpr{at: line}, nil
	}
	e, err := p.tuple(true)
	if err == nil {
		_, err = p.expect(operator, ")")
	}
	return e, err
}

func (p *parser) listLiteral(line int) (expr, error) {
	l := &listExpr{at: line}
	err := p.items("]", func() error {
		e, err := p.expression()
		l.items = append(l.items, e)
		return err
	})
	return l, err
}

func (p *parser) dictLiteral(line int) (expr, error) {
	d := &dictExpr{at: line}
	err := p.items("}", func() error {
		k, err := p.expression()
		if err != nil {
			return err
		}
		if _, err := p.expect(operator, ":"); err != nil {
			return err
		}
		v, err := p.expression()
		d.keys, d.values = append(d.keys, k), append(d.values, v)
		return err
	})
	return d, err
}

// items reads what stands up to a closing bracket, with commas between; a last one may
// follow.
func (p *parser) items(closes string, item func() error) error {
	for n := 0; ; n++ {
		if p.skip(operator, closes) {
			return nil
		}
		if n > 0 {
			if _, err := p.expect(operator, ","); err != nil {
				return err
			}
			if p.skip(operator, closes) {
				return nil
			}
		}
		if err := item(); err != nil {
			return err
		}
	}
}

package jinja

import (
	"fmt"
	"slices"
)

func (p *parser) setStatement(line int) (stmt, error) {
	target, err := p.target(true)
	if err != nil {
		return nil, err
	}
	if p.skip(operator, "=") {
		value, err := p.tuple(true)
		return &setStmt{line, target, value}, err
	}
	filtered := expr(nil)
	if p.op("|") {
		if filtered, err = p.filters(&capturedExpr{line}); err != nil {
			return nil, err
		}
	}
	body, err := p.block("set")
	return &captureStmt{line, target, filtered, body}, err
}

// target reads what is assigned to: names, tuples of them, or, with namespaced, an
// attribute of a namespace.
func (p *parser) target(namespaced bool) (target, error) {
	t := p.current()
	if namespaced && t.kind == name && p.tokens[p.at+1].kind == operator && p.tokens[p.at+1].text == "." {
		p.at += 2
		attr, err := p.expect(name, "")
		return &attrTarget{t.text, attr.text}, err
	}
	var items []target
	for {
		item, err := p.targetItem()
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		comma := p.skip(operator, ",")
		if comma && !p.op(")") {
			continue
		}
		if len(items) == 1 && !comma {
			return items[0], nil
		}
		return &tupleTarget{items}, nil
	}
}

func (p *parser) targetItem() (target, error) {
	t := p.next()
	switch {
	case t.kind == name && !slices.Contains([]string{"true", "false", "none", "True", "False", "None"}, t.text):
		return nameTarget(t.text), nil
	case t.kind == operator && t.text == "(":
		defer func(n int) { p.depth = n }(p.depth)
		if err := p.nest(); err != nil {
			return nil, err
		}
		inner, err := p.target(false)
		if err == nil {
			_, err = p.expect(operator, ")")
		}
		return inner, err
	}
	return nil, at(t.line, fmt.Errorf("found %v, want a name to assign to", t))
}

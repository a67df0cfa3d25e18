package jinja

import (
	"errors"
	"fmt"
	"slices"
)

// parser builds the tree of a template (jinja2/parser.py).
type parser struct {
	tokens []token
	at     int
	depth  int
	loops  int // for statements around this place, within one macro
	// soft is set directly inside an if, where an unknown filter or test fails only when it
	// is reached.
	soft    bool
	unknown []error // the other unknown ones, so far
	// macros are those around this place; each learns which special names its body has.
	macros []*signature
}

func (p *parser) current() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != eof {
		p.at++
	}
	return t
}

// is reports whether the current token is an operator or name of that text.
func (p *parser) is(k kind, text string) bool {
	t := p.tokens[p.at]
	return t.kind == k && t.text == text
}

func (p *parser) op(text string) bool { return p.is(operator, text) }

func (p *parser) word(text string) bool { return p.is(name, text) }

func (p *parser) skip(k kind, text string) bool {
	if p.is(k, text) {
		p.at++
		return true
	}
	return false
}

func (t token) String() string {
	switch t.kind {
	case eof:
		return "the end of the template"
	case text:
		return "text"
	case printBegin:
		return `"{{"`
	case tagBegin:
		return `"{%"`
	case str:
		return fmt.Sprintf("the string %.40q", t.text)
	}
	return fmt.Sprintf("%.40q", t.text)
}

func (p *parser) expect(k kind, what string) (token, error) {
	t := p.current()
	if t.kind != k || k == operator && t.text != what || k == name && what != "" && t.text != what {
		if what == "" {
			what = "a name"
		}
		return t, at(t.line, fmt.Errorf("found %v, want %s", t, what))
	}
	return p.next(), nil
}

// nest counts the levels of recursion until p.depth is set back.
func (p *parser) nest() error {
	if p.depth++; p.depth > maxNesting {
		return at(p.current().line, fmt.Errorf("expressions or statements are nested more than %d deep", maxNesting))
	}
	return nil
}

// chain bounds the operators in a row, which nest in the tree.
func (p *parser) chain(n int) error {
	if n > maxChain {
		return at(p.current().line, fmt.Errorf("more than %d operators, filters or subscripts follow each other", maxChain))
	}
	return nil
}

func (p *parser) template() ([]stmt, error) {
	body, err := p.statements(nil, "")
	if err == nil && len(p.unknown) > 0 {
		err = p.unknown[0]
	}
	return body, err
}

// statements reads up to the tag, one of ends, that closes opener; its name is the next token.
func (p *parser) statements(ends []string, opener string) (body []stmt, err error) {
	defer func(n int) { p.depth = n }(p.depth)
	if err := p.nest(); err != nil {
		return nil, err
	}
	begun := p.tokens[max(p.at-1, 0)].line
	for {
		t := p.next()
		var s stmt
		switch t.kind {
		case eof:
			if ends != nil {
				return nil, at(begun, fmt.Errorf("{%% %s %%} has no {%% %s %%}", opener, ends[len(ends)-1]))
			}
			return body, nil
		case text:
			s = &dataStmt{t.line, t.text}
		case printBegin:
			s, err = p.print(t.line)
		case tagBegin:
			if tag := p.current(); tag.kind == name && slices.Contains(ends, tag.text) {
				return body, nil
			}
			s, err = p.statement()
		}
		if err != nil {
			return nil, err
		}
		body = append(body, s)
	}
}

// block reads what stands between {% opener … %}, whose end is next, and {% end %}, which
// it passes.
func (p *parser) block(opener string) ([]stmt, error) {
	soft := p.soft
	p.soft = false
	defer func() { p.soft = soft }()
	if err := p.endTag(); err != nil {
		return nil, err
	}
	body, err := p.statements([]string{"end" + opener}, opener)
	if err == nil {
		p.next()
	}
	return body, err
}

// endTag passes a %}; a colon may stand before it.
func (p *parser) endTag() error {
	p.skip(operator, ":")
	_, err := p.expect(tagEnd, "%}")
	return err
}

func (p *parser) print(line int) (stmt, error) {
	e, err := p.tuple(true)
	if err != nil {
		return nil, err
	}
	_, err = p.expect(printEnd, "}}")
	return &printStmt{line, e}, err
}

// statement reads a tag and, where it has one, its body, up to the %} of the last tag.
func (p *parser) statement() (s stmt, err error) {
	t := p.next()
	if t.kind != name {
		return nil, at(t.line, fmt.Errorf("found %v, want the name of a statement", t))
	}
	switch t.text {
	case "if":
		s, err = p.ifStatement(t.line)
	case "for":
		s, err = p.forStatement(t.line)
	case "set":
		s, err = p.setStatement(t.line)
	case "macro":
		s, err = p.macroStatement(t.line)
	case "call":
		s, err = p.callStatement(t.line)
	case "filter":
		s, err = p.filterStatement(t.line)
	case "with":
		s, err = p.withStatement(t.line)
	case "print":
		s, err = p.printStatement(t.line)
	case "autoescape":
		s, err = p.autoescapeStatement(t.line)
	case "generation": // marks what the assistant said; transformers makes it a call block
		s, err = p.generationStatement(t.line)
	case "block":
		s, err = p.blockStatement(t.line)
	case "break", "continue":
		if p.loops == 0 {
			return nil, at(t.line, fmt.Errorf("{%% %s %%} stands in no loop", t.text))
		}
		s = &jumpStmt{t.line, errBreak}
		if t.text == "continue" {
			s = &jumpStmt{t.line, errContinue}
		}
	case "include", "import", "from", "extends":
		return nil, at(t.line, fmt.Errorf("{%% %s %%} is not supported: a chat template stands alone", t.text))
	default:
		return nil, at(t.line, fmt.Errorf("unknown statement {%% %s %%}", t.text))
	}
	if err != nil {
		return nil, err
	}
	_, err = p.expect(tagEnd, "%}")
	return s, err
}

func (p *parser) ifStatement(line int) (stmt, error) {
	soft := p.soft
	p.soft = true
	defer func() { p.soft = soft }()
	s := &ifStmt{at: line}
	ends := []string{"elif", "else", "endif"}
	for {
		cond, err := p.tuple(false)
		if err != nil {
			return nil, err
		}
		if err := p.endTag(); err != nil {
			return nil, err
		}
		body, err := p.statements(ends, "if")
		if err != nil {
			return nil, err
		}
		s.branches = append(s.branches, branch{cond, body})
		switch p.next().text {
		case "endif":
			return s, nil
		case "else":
			if err := p.endTag(); err != nil {
				return nil, err
			}
			if s.otherwise, err = p.statements([]string{"endif"}, "if"); err == nil {
				p.next()
			}
			return s, err
		}
	}
}

func (p *parser) forStatement(line int) (stmt, error) {
	s := &forStmt{at: line}
	soft := p.soft
	p.soft = false
	defer func() { p.soft = soft }()
	var err error
	if s.target, err = p.target(false); err != nil {
		return nil, err
	}
	if s.target.binds("loop") {
		return nil, at(line, errors.New("loop is the name of what a loop knows of itself; it can be no target"))
	}
	if _, err := p.expect(name, "in"); err != nil {
		return nil, err
	}
	if s.list, err = p.tuple(false); err != nil {
		return nil, err
	}
	if p.skip(name, "if") {
		if s.cond, err = p.expression(); err != nil {
			return nil, err
		}
	}
	s.recursive = p.skip(name, "recursive")
	if err := p.endTag(); err != nil {
		return nil, err
	}
	p.loops++
	s.body, err = p.statements([]string{"else", "endfor"}, "for")
	p.loops--
	if err != nil {
		return nil, err
	}
	if p.next().text == "endfor" {
		return s, nil
	}
	if err := p.endTag(); err != nil {
		return nil, err
	}
	if s.otherwise, err = p.statements([]string{"endfor"}, "for"); err == nil {
		p.next()
	}
	return s, err
}

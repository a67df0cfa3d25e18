package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// gonja's expressions lack some of Jinja's, which are written differently for it:
//
//	a if c else b    (((c) and [a]) or [b])[0]   as lazy; inside brackets gonja knows no if
//	x[-1]            x[-1:][0]                   gonja finds no first item from the end
//	x in a|lower     x in (a|lower)              gonja filters the result
//	(a + b).strip()  [a + b][0].strip()          gonja calls methods of names only
//	None             none                        a variable, told from undefined
//	'it\'s'          'it\u0027s'                 gonja's lexer knows few escapes

const maxNesting = 100 // brackets in brackets

// jinjaNode is a token of a tag, or a bracket with what it holds.
type jinjaNode struct {
	text  string // as gonja reads it; of a bracket the opening one
	kind  nodeKind
	inner []jinjaNode
}

type nodeKind uint8

const (
	operator nodeKind = iota
	name
	literal
	bracket
)

var closing = map[string]string{"(": ")", "[": "]", "{": "}"}

// translateTag writes a tag with those nodes; kind is the byte after its brace.
func translateTag(kind byte, nodes []jinjaNode) (string, error) {
	if len(nodes) == 0 {
		return "", errors.New("the tag is empty")
	}
	if kind == '{' {
		return "{{ " + expressions(nodes) + " }}", nil
	}
	var body string
	switch keyword, rest := nodes[0].text, nodes[1:]; keyword {
	case "generation", "endgeneration": // marks what the assistant said, for training
		return "", nil
	case "raw":
		return "", errors.New("{% raw %} is not supported")
	case "for": // its "in" and "if" are no operators
		in := slices.IndexFunc(rest, isName("in"))
		if in < 0 {
			return "", errors.New(`"for" without "in"`)
		}
		if slices.ContainsFunc(rest[in:], isName("recursive")) {
			return "", errors.New(`"for ... recursive" is not supported`)
		}
		body = "for " + join(rest[:in+1]) + " "
		if cond := slices.IndexFunc(rest, isName("if")); cond > in {
			body += expressions(rest[in+1:cond]) + " if "
			in = cond
		}
		body += expressions(rest[in+1:])
	default:
		body = keyword + " " + expressions(rest)
	}
	return "{% " + body + " %}", nil
}

// expressions writes nodes that , : and = divide into expressions.
func expressions(nodes []jinjaNode) string {
	var out []string
	start := 0
	for i, n := range nodes {
		if n.kind == operator && slices.Contains([]string{",", ":", "="}, n.text) {
			out = append(out, conditional(nodes[start:i]), n.text)
			start = i + 1
		}
	}
	return strings.Join(append(out, conditional(nodes[start:])), " ")
}

// conditional writes an expression that may be a conditional one.
func conditional(nodes []jinjaNode) string {
	i := slices.IndexFunc(nodes, isName("if"))
	if i < 0 {
		return membership(nodes)
	}
	value, condition, otherwise := nodes[:i], nodes[i+1:], ""
	if j := slices.IndexFunc(condition, isName("else")); j >= 0 {
		condition, otherwise = condition[:j], conditional(condition[j+1:])
	}
	return fmt.Sprintf("(((%s ) and [%s ]) or [%s ])[0]", membership(condition), membership(value), otherwise)
}

// membership puts the right side of each "in" into brackets.
func membership(nodes []jinjaNode) string {
	i := slices.IndexFunc(nodes, isName("in"))
	if i < 0 {
		return join(nodes)
	}
	right := nodes[i+1:]
	end := slices.IndexFunc(right, endsOperand)
	if end < 0 {
		end = len(right)
	}
	out := join(nodes[:i+1]) + " (" + join(right[:end]) + " )"
	if end < len(right) {
		out += " " + membership(right[end:])
	}
	return out
}

// endsOperand reports whether n binds less tightly than arithmetic and filters.
func endsOperand(n jinjaNode) bool {
	switch n.kind {
	case name:
		return slices.Contains([]string{"and", "or", "not", "in", "is"}, n.text)
	case operator:
		return slices.Contains([]string{"==", "!=", "<", ">", "<=", ">="}, n.text)
	}
	return false
}

// join writes nodes one after the other.
func join(nodes []jinjaNode) string {
	var b strings.Builder
	for i, n := range nodes {
		postfix := i > 0 && isOperand(nodes[i-1])
		b.WriteByte(' ')
		switch {
		case n.kind != bracket:
			b.WriteString(n.text)
		case n.text == "[" && postfix && isNegative(n.inner):
			b.WriteString("[" + join(n.inner) + " : ][0]")
		case n.text == "(" && !postfix && !isTuple(n.inner) && i+1 < len(nodes) && isPostfix(nodes[i+1]):
			b.WriteString("[" + expressions(n.inner) + " ][0]")
		default:
			b.WriteString(n.text + expressions(n.inner) + " " + closing[n.text])
		}
	}
	return b.String()
}

// isOperand reports whether a bracket behind n is a call or an index.
func isOperand(n jinjaNode) bool {
	return n.kind == bracket || n.kind == literal || n.kind == name && !isKeyword(n.text)
}

func isKeyword(text string) bool {
	return slices.Contains([]string{"and", "or", "not", "in", "is", "if", "else"}, text)
}

// isNegative reports whether inner is a negative number: -1.
func isNegative(inner []jinjaNode) bool {
	return len(inner) == 2 && inner[0].text == "-" && inner[1].kind == literal
}

func isTuple(inner []jinjaNode) bool {
	return len(inner) == 0 || slices.ContainsFunc(inner, func(n jinjaNode) bool { return n.kind == operator && n.text == "," })
}

func isPostfix(n jinjaNode) bool { return n.text == "." || n.text == "[" }

func isName(text string) func(jinjaNode) bool {
	return func(n jinjaNode) bool { return n.kind == name && n.text == text }
}

// jinjaLexer reads the tokens of a tag.
type jinjaLexer struct {
	src string
	at  int
	end string // of the tag: "%}" or "}}"
}

// nodes reads up to the bracket that closes, or, where that is "", up to the end of
// the tag with its sign, which stay unread.
func (l *jinjaLexer) nodes(closes string, depth int) (nodes []jinjaNode, err error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("brackets are nested more than %d deep", maxNesting)
	}
	for {
		l.at += len(l.src[l.at:]) - len(strings.TrimLeftFunc(l.src[l.at:], unicode.IsSpace))
		rest := l.src[l.at:]
		switch {
		case rest == "":
			return nil, fmt.Errorf("the tag has no %s", l.end)
		case closes == "" && l.atEnd(rest):
			return nodes, nil
		case closes != "" && strings.HasPrefix(rest, closes):
			l.at++
			return trailingComma(nodes, closes), nil
		case strings.ContainsRune(")]}", rune(rest[0])):
			return nil, fmt.Errorf("%q closes no bracket", rest[:1])
		}
		var n jinjaNode
		if closing[rest[:1]] != "" {
			l.at++
			n = jinjaNode{text: rest[:1], kind: bracket}
			n.inner, err = l.nodes(closing[n.text], depth+1)
		} else {
			n, err = l.token(rest)
		}
		if err != nil {
			return nil, err
		}
		if last := len(nodes) - 1; last >= 0 && isString(n) && isString(nodes[last]) { // 'a' 'b' is 'ab'
			nodes[last].text = strings.TrimSuffix(nodes[last].text, "'") + n.text[1:]
			continue
		}
		nodes = append(nodes, n)
	}
}

func isString(n jinjaNode) bool { return n.kind == literal && n.text[0] == '\'' }

func (l *jinjaLexer) atEnd(rest string) bool {
	if rest[0] == '-' || rest[0] == '+' && l.end == "%}" {
		rest = rest[1:]
	}
	return strings.HasPrefix(rest, l.end)
}

// trailingComma drops the comma of {a: b,}, which gonja does not know.
func trailingComma(nodes []jinjaNode, closes string) []jinjaNode {
	if n := len(nodes); n > 0 && closes == "}" && nodes[n-1].text == "," {
		return nodes[:n-1]
	}
	return nodes
}

// token reads a name, number, string or operator.
func (l *jinjaLexer) token(rest string) (jinjaNode, error) {
	switch r, _ := utf8.DecodeRuneInString(rest); {
	case r == '\'' || r == '"':
		text, n, err := unquoteJinja(rest)
		l.at += n
		return jinjaNode{text: quoteJinja(text), kind: literal}, err
	case unicode.IsDigit(r):
		return jinjaNode{text: l.take(numberLen(rest)), kind: literal}, nil
	case isNameRune(r):
		text := l.take(len(rest) - len(strings.TrimLeftFunc(rest, isNameRune)))
		if text == "None" {
			text = "none"
		}
		return jinjaNode{text: text, kind: name}, nil
	}
	for _, op := range []string{"==", "!=", "<=", ">=", "//"} {
		if strings.HasPrefix(rest, op) {
			return jinjaNode{text: l.take(2)}, nil
		}
	}
	if strings.IndexByte("+-*/%~|.,:=<>", rest[0]) < 0 {
		return jinjaNode{}, fmt.Errorf("unexpected %q", firstRune(rest))
	}
	return jinjaNode{text: l.take(1)}, nil
}

func (l *jinjaLexer) take(n int) string {
	l.at += n
	return l.src[l.at-n : l.at]
}

func isNameRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

func firstRune(text string) string {
	_, n := utf8.DecodeRuneInString(text)
	return text[:n]
}

// numberLen returns the length of the number that text begins with: 12 or 1.5.
func numberLen(text string) int {
	digits := func(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }
	n := max(1, digits(text))
	if n < len(text) && text[n] == '.' {
		if fraction := digits(text[n+1:]); fraction > 0 {
			n += 1 + fraction
		}
	}
	return n
}

// unquoteJinja reads the string literal that src begins with, as Python does, and
// returns its length there.
func unquoteJinja(src string) (text string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(src); {
		switch c := src[i]; {
		case c == src[0]:
			return b.String(), i + 1, nil
		case c == '\\' && i+1 < len(src):
			r, size := unescapePython(src[i+1:])
			b.WriteString(r)
			i += 1 + size
		default:
			b.WriteByte(c)
			i++
		}
	}
	return "", 0, fmt.Errorf("the string %.20s... has no end", src)
}

// unescapePython reads what stands behind a backslash. An unknown escape stands for
// itself.
func unescapePython(src string) (text string, size int) {
	simple := map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': `"`, 'b': "\b", 'f': "\f", 'v': "\v", 'a': "\a", '0': "\x00", '\n': ""}
	if s, ok := simple[src[0]]; ok {
		return s, 1
	}
	if digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[src[0]]; digits > 0 && len(src) > digits {
		if v, err := strconv.ParseUint(src[1:1+digits], 16, 32); err == nil {
			return string(rune(v)), 1 + digits
		}
	}
	return "\\", 0
}

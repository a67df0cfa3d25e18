package jinja

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// kind of a token.
type kind uint8

const (
	eof        kind = iota
	text            // outside of tags
	printBegin      // {{
	printEnd        // }}
	tagBegin        // {%
	tagEnd          // %}
	name
	str // its text is unescaped
	integer
	float
	operator
)

// token of a template.
type token struct {
	kind kind
	text string
	line int
}

// lexer cuts a template into tokens (jinja2/lexer.py), white space by trim_blocks and
// lstrip_blocks.
type lexer struct {
	src       string
	at        int // src[:at] is read
	line      int // of src[at]
	lineStart bool
	tokens    []token
}

var (
	rawBegin = regexp.MustCompile(`^\{%[-+]?[\s\x1c-\x1f]*raw[\s\x1c-\x1f]*(-%\}[\s\x1c-\x1f]*|%\})`)
	rawEnd   = regexp.MustCompile(`\{%[-+]?[\s\x1c-\x1f]*endraw[\s\x1c-\x1f]*(\+%\}|-%\}[\s\x1c-\x1f]*|%\}\n?)`)
)

// lex returns the tokens of a template. Line breaks become \n and the last one is dropped,
// as Jinja2 does by default.
func lex(source string) ([]token, error) {
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	l := lexer{src: strings.TrimSuffix(source, "\n"), line: 1, lineStart: true}
	for l.at < len(l.src) {
		if err := l.root(); err != nil {
			return nil, at(l.line, err)
		}
	}
	return append(l.tokens, token{kind: eof, line: l.line}), nil
}

// root reads text and the tag behind it.
func (l *lexer) root() error {
	begin := nextTag(l.src[l.at:])
	if begin < 0 {
		l.emit(text, l.src[l.at:])
		l.advance(len(l.src) - l.at)
		return nil
	}
	l.data(begin, sign(l.src[l.at+begin+2:]), l.src[l.at+begin+1] != '{')
	if m := rawBegin.FindString(l.src[l.at:]); m != "" {
		l.advance(len(m))
		return l.raw()
	}
	which := l.src[l.at+1]
	l.advance(2)
	if sign(l.src[l.at:]) != 0 {
		l.advance(1)
	}
	switch which {
	case '#':
		return l.comment()
	case '%':
		return l.tag(tagBegin, tagEnd, "%}")
	default:
		return l.tag(printBegin, printEnd, "}}")
	}
}

// nextTag returns the index of the next "{{", "{%" or "{#", -1 without one.
func nextTag(text string) int {
	for at := 0; ; at++ {
		i := strings.IndexByte(text[at:], '{')
		if i < 0 || at+i+1 >= len(text) {
			return -1
		}
		if at += i; strings.IndexByte("{%#", text[at+1]) >= 0 {
			return at
		}
	}
}

// sign returns the white-space control that text begins with, 0 without one.
func sign(text string) byte {
	if text != "" && (text[0] == '-' || text[0] == '+') {
		return text[0]
	}
	return 0
}

// data passes n bytes of text in front of a tag, less the white space that the tag takes:
// all of it with -, and the indentation of a line that a statement or comment begins.
func (l *lexer) data(n int, mark byte, strips bool) {
	all := l.src[l.at : l.at+n]
	kept := all
	switch {
	case mark == '-':
		kept = strings.TrimRightFunc(all, isSpace)
	case mark == 0 && strips:
		start := strings.LastIndexByte(all, '\n') + 1
		if (start > 0 || l.lineStart) && strings.TrimFunc(all[start:], isSpace) == "" {
			kept = all[:start]
		}
	}
	l.emit(text, kept)
	l.advance(n)
}

// raw passes the text up to {% endraw %}.
func (l *lexer) raw() error {
	m := rawEnd.FindStringIndex(l.src[l.at:])
	if m == nil {
		return errors.New("{% raw %} has no {% endraw %}")
	}
	l.data(m[0], sign(l.src[l.at+m[0]+2:]), true)
	l.advance(m[1] - m[0])
	return nil
}

func (l *lexer) comment() error {
	n := strings.Index(l.src[l.at:], "#}")
	if n < 0 {
		return errors.New("the comment has no #}")
	}
	if n > 0 && sign(l.src[l.at+n-1:]) != 0 {
		n--
	}
	l.advance(n)
	l.end("#}", true)
	return nil
}

// end passes the end of a tag and the white space that it takes, if it stands here: all of
// it with -, one line break without a sign (trims).
func (l *lexer) end(closes string, trims bool) bool {
	rest := l.src[l.at:]
	mark := sign(rest)
	if mark == '+' && closes == "}}" {
		return false
	}
	if mark != 0 {
		rest = rest[1:]
	}
	rest, ok := strings.CutPrefix(rest, closes)
	switch {
	case !ok:
		return false
	case mark == '-':
		rest = strings.TrimLeftFunc(rest, isSpace)
	case mark == 0 && trims:
		rest = strings.TrimPrefix(rest, "\n")
	}
	l.advance(len(l.src) - len(rest) - l.at)
	return true
}

// tag reads the tokens of a tag up to its end.
func (l *lexer) tag(begins, ends kind, closes string) error {
	first := l.line
	l.tokens = append(l.tokens, token{begins, "", l.line})
	var open []byte
	for {
		l.advance(len(l.src[l.at:]) - len(strings.TrimLeftFunc(l.src[l.at:], isSpace)))
		line := l.line
		if l.at >= len(l.src) {
			l.line = first
			return fmt.Errorf("the tag has no %s", closes)
		}
		if len(open) == 0 && l.end(closes, ends == tagEnd) {
			l.tokens = append(l.tokens, token{ends, closes, line})
			return nil
		}
		t, n, err := scan(l.src, l.at)
		if err != nil {
			return err
		}
		t.line = line
		if t.kind == operator {
			if open, err = balance(open, t.text[0]); err != nil {
				return err
			}
		}
		l.tokens = append(l.tokens, t)
		l.advance(n)
	}
}

// balance notes a bracket that opens or closes.
func balance(open []byte, c byte) ([]byte, error) {
	switch c {
	case '(', '[', '{':
		closes := map[byte]byte{'(': ')', '[': ']', '{': '}'}[c]
		return append(open, closes), nil
	case ')', ']', '}':
		if len(open) == 0 {
			return nil, fmt.Errorf("%q closes no bracket", c)
		}
		if want := open[len(open)-1]; want != c {
			return nil, fmt.Errorf("found %q, want %q", c, want)
		}
		return open[:len(open)-1], nil
	}
	return open, nil
}

func (l *lexer) emit(k kind, text string) {
	if text != "" {
		l.tokens = append(l.tokens, token{k, text, l.line})
	}
}

// advance passes n bytes.
func (l *lexer) advance(n int) {
	if n == 0 {
		return
	}
	l.line += strings.Count(l.src[l.at:l.at+n], "\n")
	l.at += n
	l.lineStart = l.src[l.at-1] == '\n'
}

// isSpace is str.isspace of one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

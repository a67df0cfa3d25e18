package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Chat templates are Jinja as Python's transformers renders it, with trim_blocks and
// lstrip_blocks on. gonja, which runs them here, is a close relative with a simpler
// grammar and other white space. So a template is translated first: white space goes
// by Jinja's rules (jinja2/lexer.py), and what stands in each tag is written so that
// both read it alike (jinja_expr.go). Lines stay where they are, for error messages.

const maxTemplateSize = 1 << 20 // bytes

// jinjaSource is a template on its way into gonja's dialect.
type jinjaSource struct {
	in   string
	at   int  // in[:at] is translated
	line bool // in[at:] begins a line
	out  strings.Builder
}

// translateJinja returns source in gonja's dialect.
func translateJinja(source string) (string, error) {
	if len(source) > maxTemplateSize {
		return "", fmt.Errorf("it is %d bytes long, want at most %d", len(source), maxTemplateSize)
	}
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	s := jinjaSource{in: strings.TrimSuffix(source, "\n"), line: true}
	for {
		begin := nextTag(s.in[s.at:])
		if begin < 0 {
			s.out.WriteString(s.in[s.at:])
			return s.out.String(), nil
		}
		begin += s.at
		if err := s.tag(begin); err != nil {
			return "", fmt.Errorf("line %d: %w", 1+strings.Count(s.in[:begin], "\n"), err)
		}
	}
}

// nextTag returns the index of the next "{{", "{%" or "{#", -1 without one.
func nextTag(text string) int {
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '{' && strings.IndexByte("{%#", text[i+1]) >= 0 {
			return i
		}
	}
	return -1
}

// tag translates the text up to the tag that begins there, and the tag.
func (s *jinjaSource) tag(begin int) error {
	kind := s.in[begin+1]
	s.data(begin, kind != '{')
	body := begin + 2
	if sign(s.in[body:]) != 0 {
		body++
	}
	end, code, err := s.body(body, kind)
	if err != nil {
		return err
	}
	s.out.WriteString(code)
	s.close(end, kind != '{')
	s.keepLines(s.in[begin:s.at])
	return nil
}

// body translates the body of a tag and returns where it ends.
func (s *jinjaSource) body(at int, kind byte) (end int, code string, err error) {
	if kind == '#' {
		n := strings.Index(s.in[at:], "#}")
		if n < 0 {
			return 0, "", errors.New("the comment has no #}")
		}
		if n > 0 && sign(s.in[at+n-1:]) != 0 {
			n--
		}
		return at + n, "", nil
	}
	l := jinjaLexer{src: s.in, at: at, end: "%}"}
	if kind == '{' {
		l.end = "}}"
	}
	nodes, err := l.nodes("", 0)
	if err != nil {
		return 0, "", err
	}
	code, err = translateTag(kind, nodes)
	return l.at, code, err
}

// sign returns the white-space control that text begins with, 0 without one.
func sign(text string) byte {
	if text != "" && (text[0] == '-' || text[0] == '+') {
		return text[0]
	}
	return 0
}

// data writes the text in front of the tag at begin, less the white space that the
// tag takes: all of it with {%-, and the indentation of a line that a statement or
// comment (strips) begins.
func (s *jinjaSource) data(begin int, strips bool) {
	all := s.in[s.at:begin]
	text := all
	switch sign(s.in[begin+2:]) {
	case '-':
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	case 0:
		start := strings.LastIndexByte(text, '\n') + 1
		if strips && (start > 0 || s.line) && strings.TrimSpace(text[start:]) == "" {
			text = text[:start]
		}
	}
	if head, ok := strings.CutSuffix(text, "{"); ok { // it must not join the tag
		s.out.WriteString(head + "{{ '\\x7b' }}")
	} else {
		s.out.WriteString(text)
	}
	s.keepLines(all[len(text):])
	s.at = begin
}

// close passes the end of a tag, in front of which its body ends, and the white
// space that it takes: all of it with -%}, one line break without a sign (trims).
func (s *jinjaSource) close(bodyEnd int, trims bool) {
	mark := sign(s.in[bodyEnd:])
	s.at = bodyEnd + 2
	if mark != 0 {
		s.at++
	}
	rest := s.in[s.at:]
	switch {
	case mark == '-':
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
	case mark == 0 && trims:
		rest = strings.TrimPrefix(rest, "\n")
	}
	s.at = len(s.in) - len(rest)
	s.line = s.in[s.at-1] == '\n'
}

// keepLines writes the line breaks of what is left out as a comment.
func (s *jinjaSource) keepLines(leftOut string) {
	if n := strings.Count(leftOut, "\n"); n > 0 {
		s.out.WriteString("{#" + strings.Repeat("\n", n) + "#}")
	}
}

// quoteJinja writes text as a string literal of gonja, whose own lexer knows few
// escapes: only what is safe stands as it is.
func quoteJinja(text string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" _.,:;!?<>|/*=&@()[]^~`$+-", r)):
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

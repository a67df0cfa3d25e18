package jinja

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	floatLiteral   = regexp.MustCompile(`^(?i)(\d+_)*\d+((\.(\d+_)*\d+)?e[+\-]?(\d+_)*\d+|\.(\d+_)*\d+)`)
	integerLiteral = regexp.MustCompile(`^(?i)(0b(_?[0-1])+|0o(_?[0-7])+|0x(_?[\da-f])+|[1-9](_?\d)*|0(_?0)*)`)
)

// scan reads the token at src[i:] and returns its length.
func scan(src string, i int) (t token, n int, err error) {
	rest := src[i:]
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case r == '\'' || r == '"':
		t.kind = str
		t.text, n, err = quoted(rest)
		return t, n, err
	case '0' <= r && r <= '9':
		limit := rest[:min(len(rest), 400)]
		if m := floatLiteral.FindString(limit); m != "" && (i == 0 || src[i-1] != '.') {
			return token{kind: float, text: m}, len(m), nil
		}
		m := integerLiteral.FindString(limit)
		return token{kind: integer, text: m}, len(m), nil
	case isNameRune(r):
		n := len(rest) - len(strings.TrimLeftFunc(rest, isNameRune))
		return token{kind: name, text: rest[:n]}, n, nil
	}
	for _, op := range []string{"==", "!=", "<=", ">=", "//", "**"} {
		if strings.HasPrefix(rest, op) {
			return token{kind: operator, text: op}, len(op), nil
		}
	}
	if strings.IndexByte("+-*/%~[](){}><=.:|,;", rest[0]) < 0 {
		return t, 0, fmt.Errorf("unexpected %q", rest[:size])
	}
	return token{kind: operator, text: rest[:1]}, 1, nil
}

func isNameRune(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || r >= utf8.RuneSelf && unicode.IsMark(r)
}

// quoted reads the string literal that src begins with, and returns its length there.
func quoted(src string) (text string, n int, err error) {
	escaped := false
	for i := 1; i < len(src); i++ {
		switch c := src[i]; {
		case c == '\\':
			escaped = true
			i++
		case c == src[0] && !escaped:
			return src[1:i], i + 1, nil
		case c == src[0]:
			text, err = unescape(src[1:i])
			return text, i + 1, err
		}
	}
	return "", 0, fmt.Errorf("the string %.20s... has no end", src)
}

// unescape is Python's unicode-escape.
func unescape(src string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(src); {
		if src[i] != '\\' {
			b.WriteByte(src[i])
			i++
			continue
		}
		s, n, err := escape(src[i+1:])
		if err != nil {
			return "", err
		}
		b.WriteString(s)
		i += 1 + n
	}
	return b.String(), nil
}

var simpleEscapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': `"`, 'b': "\b", 'f': "\f", 'v': "\v", 'a': "\a", '\n': "",
}

// escape reads what stands behind a backslash. An unknown escape stands for itself.
func escape(src string) (text string, n int, err error) {
	if s, ok := simpleEscapes[src[0]]; ok {
		return s, 1, nil
	}
	if digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[src[0]]; digits > 0 {
		if len(src) > digits {
			if v, err := strconv.ParseUint(src[1:1+digits], 16, 32); err == nil && v <= unicode.MaxRune {
				return string(rune(v)), 1 + digits, nil
			}
		}
		return "", 0, fmt.Errorf(`the escape \%c wants %d hexadecimal digits of a character`, src[0], digits)
	}
	for n < 3 && n < len(src) && '0' <= src[n] && src[n] <= '7' {
		n++
	}
	switch {
	case n > 0:
		v, err := strconv.ParseUint(src[:n], 8, 32)
		return string(rune(v)), n, err
	case src[0] == 'N':
		return "", 0, errors.New(`the escape \N{...} is not supported; write the character itself`)
	}
	return "\\", 0, nil
}

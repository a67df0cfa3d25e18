package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// upperText is str.upper: unlike Go's, it makes SS of ß.
func upperText(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// titleRune is one character in title case, as str.title has it.
func titleRune(r rune) string {
	switch r {
	case 'ß':
		return "Ss"
	case 'ŉ', 'ǰ', 'ﬀ', 'ﬁ', 'ﬂ', 'ﬃ', 'ﬄ', 'ﬅ', 'ﬆ': // several letters: the first is a capital
		up := upperText(string(r))
		_, n := utf8.DecodeRuneInString(up)
		return up[:n] + strings.ToLower(up[n:])
	}
	return string(unicode.ToTitle(r))
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return titleRune(r) + lowerText(s[n:])
}

// lowerText is str.lower: the final sigma is another letter.
func lowerText(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und).String(s)
}

// titleText is str.title: a capital where a letter follows none.
func titleText(s string) string {
	var b strings.Builder
	inside := false
	for _, r := range s {
		switch cased := isCased(r); {
		case cased && inside:
			b.WriteRune(unicode.ToLower(r))
		case cased:
			b.WriteString(titleRune(r))
		default:
			b.WriteRune(r)
		}
		inside = isCased(r)
	}
	return b.String()
}

func isCased(r rune) bool { return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) }

func swapCase(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsUpper(r):
			b.WriteRune(unicode.ToLower(r))
		case unicode.IsLower(r):
			b.WriteString(upperText(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isTitle(s string) bool {
	found, inside := false, false
	for _, r := range s {
		switch {
		case unicode.IsUpper(r) || unicode.IsTitle(r):
			if inside {
				return false
			}
			found = true
		case unicode.IsLower(r) && !inside:
			return false
		}
		inside = isCased(r)
	}
	return found
}

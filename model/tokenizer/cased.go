package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// The patterns that begin a new word where small letters are followed by a capital:
// Mistral's from Nemo on, and that of GPT-4o, which Phi-4-mini has.
const (
	casedUpper  = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	casedLower  = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	casedSuffix = `(?i:'s|'t|'re|'ve|'m|'ll|'d)?`
	casedRest   = ` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	tekkenPattern = `[^\r\n\p{L}\p{N}]?` + casedUpper + `*` + casedLower + `+|[^\r\n\p{L}\p{N}]?` + casedUpper + `+` + casedLower + `*|\p{N}|` + casedRest
	o200kPattern  = `[^\r\n\p{L}\p{N}]?` + casedUpper + `*` + casedLower + `+` + casedSuffix +
		`|[^\r\n\p{L}\p{N}]?` + casedUpper + `+` + casedLower + `*` + casedSuffix + `|\p{N}{1,3}|` + casedRest
)

// letterCase is what the two patterns distinguish of letters and marks.
type letterCase uint8

const (
	noCase  letterCase = iota // neither letter nor mark
	upper                     // capital and title case letters
	lower                     // small letters
	anyCase                   // modifiers, letters of scripts without case, marks: both of the above
)

func caseOf(r rune) letterCase {
	switch {
	case r < utf8.RuneSelf:
		return asciiCase[r]
	case unicode.In(r, unicode.Lu, unicode.Lt):
		return upper
	case unicode.Is(unicode.Ll, r):
		return lower
	case unicode.In(r, unicode.Lm, unicode.Lo, unicode.M):
		return anyCase
	default:
		return noCase
	}
}

var asciiCase = func() (t [utf8.RuneSelf]letterCase) {
	for r := 'A'; r <= 'Z'; r++ {
		t[r], t[r+'a'-'A'] = upper, lower
	}
	return t
}()

// caseAt returns the case and length of the character at text[i:].
func caseAt(text string, i int) (letterCase, int) {
	if i >= len(text) {
		return noCase, 0
	}
	if c := text[i]; c < utf8.RuneSelf {
		return asciiCase[c], 1
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	return caseOf(r), n
}

// runOf returns the end of the run from text[i:] of characters that are of the given
// case or of any, and the end of the last one of these that is of any, 0 if none is.
func runOf(text string, i int, c letterCase) (end, shared int) {
	for {
		k, n := caseAt(text, i)
		if n == 0 || k != c && k != anyCase {
			return i, shared
		}
		if i += n; k == anyCase {
			shared = i
		}
	}
}

// casedWord matches tekkenPattern (maxDigits 1, no suffix) and o200kPattern (3, suffix).
func casedWord(text string, maxDigits int, suffix bool) int {
	if n := casedLetters(text); n > 0 {
		if suffix {
			n += contraction(text[n:], true)
		}
		return n
	}
	switch c, n := classAt(text, 0); c {
	case number:
		return digits(text, n, maxDigits)
	case space, other:
		next, m := classAt(text, n)
		if c == other || text[0] == ' ' && next == other && m > 0 {
			return linesOrSlashes(text, run(text, n, other))
		}
	}
	return linesOrSpaces(text)
}

// casedLetters matches the first two alternatives, 0 if neither does. As a backtracking
// matcher does, it tries both ways to take the first character, in front of the letters
// or, if it is a mark, among them, with capitals before small letters, and only then
// without small letters.
func casedLetters(text string) int {
	class, n := classAt(text, 0)
	front := 0
	if class == space || class == other {
		front = n
	}
	capitals, shared := runOf(text, front, upper)
	if end, _ := runOf(text, capitals, lower); end > capitals {
		return end
	}
	switch c, _ := caseAt(text, 0); {
	case shared > 0: // the last small letter is among what can be a capital, too
		return shared
	case front > 0 && c == anyCase: // a mark alone
		return n
	case capitals > front:
		return capitals
	default:
		return 0
	}
}

// linesOrSlashes returns the end of the run of \r, \n and / from text[i:] on.
func linesOrSlashes(text string, i int) int {
	for i < len(text) && (text[i] == '\r' || text[i] == '\n' || text[i] == '/') {
		i++
	}
	return i
}

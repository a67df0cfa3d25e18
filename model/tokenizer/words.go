package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// The patterns that most byte-level tokenizers split words with. Regular
// expressions with look-ahead run slowly, so a pattern whose text is exactly one of
// these is matched by hand. Each matches at the start of every non-empty text.
const (
	gpt2Pattern   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	cl100kPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Pattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// knownPatterns gives the length of a pattern's match at the start of text.
var knownPatterns = map[string]func(text string) int{
	gpt2Pattern:   gpt2Word,
	cl100kPattern: func(text string) int { return cl100kWord(text, 3) },
	qwen2Pattern:  func(text string) int { return cl100kWord(text, 1) },
	tekkenPattern: func(text string) int { return casedWord(text, 1, false) },
	o200kPattern:  func(text string) int { return casedWord(text, 3, true) },
}

// class is what the patterns distinguish of a character.
type class uint8

const (
	other   class = iota
	letter        // \p{L}
	number        // \p{N}
	space         // \s without the line breaks
	newline       // \r, \n
)

var asciiClass = makeASCIIClass()

func makeASCIIClass() (t [utf8.RuneSelf]class) {
	for i := range t {
		t[i] = classOf(rune(i))
	}
	return t
}

func classOf(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case r == '\r' || r == '\n':
		return newline
	case unicode.IsSpace(r):
		return space
	}
	return other
}

// classAt returns the class and length of the character at text[i:]; length 0 is
// the end of the text.
func classAt(text string, i int) (class, int) {
	if i >= len(text) {
		return other, 0
	}
	if c := text[i]; c < utf8.RuneSelf {
		return asciiClass[c], 1
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	return classOf(r), n
}

// run returns the end of the run of characters of class c from text[i:] on.
func run(text string, i int, c class) int {
	for {
		k, n := classAt(text, i)
		if n == 0 || k != c {
			return i
		}
		i += n
	}
}

// gpt2Word matches gpt2Pattern.
func gpt2Word(text string) int {
	if n := contraction(text, false); n > 0 {
		return n
	}
	start := 0
	if text[0] == ' ' {
		start = 1
	}
	if c, n := classAt(text, start); n > 0 && c < space {
		return run(text, start+n, c)
	}
	return spaces(text)
}

// cl100kWord matches cl100kPattern (maxDigits 3) and qwen2Pattern (maxDigits 1).
func cl100kWord(text string, maxDigits int) int {
	if n := contraction(text, true); n > 0 {
		return n
	}
	c, n := classAt(text, 0)
	switch c {
	case letter:
		return run(text, n, letter)
	case number:
		return digits(text, n, maxDigits)
	case space, other:
		next, m := classAt(text, n)
		if next == letter && m > 0 {
			return run(text, n+m, letter)
		}
		if c == other || text[0] == ' ' && next == other && m > 0 {
			return run(text, run(text, n, other), newline)
		}
	}
	return linesOrSpaces(text)
}

// digits returns the end of the run of numbers that text begins with, of which the first
// ends at i, up to most.
func digits(text string, i, most int) int {
	for range most - 1 {
		if c, n := classAt(text, i); c == number {
			i += n
		}
	}
	return i
}

// contraction matches 's|'t|'re|'ve|'m|'ll|'d, in any case if fold.
func contraction(text string, fold bool) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	at := func(i int) byte {
		switch {
		case i >= len(text):
			return 0
		case fold && 'A' <= text[i] && text[i] <= 'Z':
			return text[i] + 'a' - 'A'
		}
		return text[i]
	}
	switch at(1) {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if at(2) == 'e' {
			return 3
		}
	case 'l':
		if at(2) == 'l' {
			return 3
		}
	}
	return 0
}

// linesOrSpaces matches \s*[\r\n]+|\s+(?!\S)|\s+: white space up to its last line
// break, if it has one.
func linesOrSpaces(text string) int {
	lines := 0
	for i := 0; ; {
		c, n := classAt(text, i)
		if n == 0 || c < space {
			break
		}
		i += n
		if c == newline {
			lines = i
		}
	}
	if lines > 0 {
		return lines
	}
	return spaces(text)
}

// spaces matches \s+(?!\S)|\s+: white space, of which the last character is left to
// the word behind it.
func spaces(text string) int {
	end, last := 0, 0
	for {
		c, n := classAt(text, end)
		if n == 0 {
			return end
		}
		if c < space {
			break
		}
		end, last = end+n, n
	}
	if end > last {
		return end - last
	}
	return end
}

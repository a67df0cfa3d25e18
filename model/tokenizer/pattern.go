package tokenizer

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// finder returns the matches of a pattern in text: in order, apart, not empty.
type finder func(text string) []span

// compile makes the finder of a pattern in a file; a regular expression whose text
// is well known gets the hand-written splitter.
func (p pattern) compile(path string) (finder, error) {
	switch {
	case p.String != nil:
		return findString(*p.String), nil
	case p.Regex == nil:
		return nil, fmt.Errorf(`%s.pattern: want {"String": "..."} or {"Regex": "..."}`, path)
	case knownPatterns[*p.Regex] != nil:
		return findAll(knownPatterns[*p.Regex]), nil
	}
	if n := len(*p.Regex); n > maxPattern {
		return nil, fmt.Errorf("%s.pattern.Regex: it is %d bytes long, want at most %d", path, n, maxPattern)
	}
	re, err := regexp2.Compile(*p.Regex, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("%s.pattern.Regex: %w", path, err)
	}
	re.MatchTimeout = matchTime
	return findRegexp(re, path), nil
}

func findString(s string) finder {
	return func(text string) (found []span) {
		if s == "" {
			return nil
		}
		for at := 0; ; {
			i := strings.Index(text[at:], s)
			if i < 0 {
				return found
			}
			found = append(found, span{at + i, at + i + len(s)})
			at += i + len(s)
		}
	}
}

// findRegexp searches the text's characters once and translates their indexes to
// bytes as it goes. Where that takes too long it panics with a patternError.
func findRegexp(re *regexp2.Regexp, path string) finder {
	return func(text string) (found []span) {
		chars := []rune(text)
		char, at := 0, 0 // the same place, in characters and in bytes
		seek := func(to int) int {
			for ; char < to; char++ {
				at += utf8.RuneLen(chars[char])
			}
			return at
		}
		ends := time.Now().Add(searchTime + time.Duration(len(chars))*charTime)
		m, err := re.FindRunesMatch(chars)
		for n := 0; err == nil && m != nil; n++ {
			if m.Length > 0 {
				from := seek(m.Index)
				found = append(found, span{from, seek(m.Index + m.Length)})
			}
			if n%256 == 0 && time.Now().After(ends) {
				panic(&patternError{where: path, pattern: re.String(), chars: len(chars)})
			}
			m, err = re.FindNextMatch(m)
		}
		if err != nil { // its only one is that of time
			panic(&patternError{path, re.String(), len(chars), err})
		}
		return found
	}
}

// findAll finds with a function that gives the length of the match that text starts
// with.
func findAll(matchLen func(text string) int) finder {
	return func(text string) []span {
		found := make([]span, 0, len(text)/5+1)
		for at := 0; at < len(text); {
			n := matchLen(text[at:])
			found = append(found, span{at, at + n})
			at += n
		}
		return found
	}
}

// findChars finds each single character for which is holds.
func findChars(is func(rune) bool) finder {
	return func(text string) (found []span) {
		for i, r := range text {
			if is(r) {
				found = append(found, span{i, i + utf8.RuneLen(r)})
			}
		}
		return found
	}
}

// behavior is what Split does with what its pattern finds, in the words of the
// tokenizers library.
type behavior string

const (
	removed            behavior = "Removed"
	isolated           behavior = "Isolated"
	mergedWithPrevious behavior = "MergedWithPrevious"
	mergedWithNext     behavior = "MergedWithNext"
	contiguous         behavior = "Contiguous"
)

// piece is a match or the text between two.
type piece struct {
	span
	match bool
}

// pieces covers text with matches and the text between them; invert swaps the two.
func pieces(text string, found []span, invert bool) []piece {
	out := make([]piece, 0, 2*len(found)+1)
	done := 0
	for _, m := range found {
		if done < m.from {
			out = append(out, piece{span{done, m.from}, invert})
		}
		out = append(out, piece{m, !invert})
		done = m.to
	}
	if done < len(text) {
		out = append(out, piece{span{done, len(text)}, invert})
	}
	return out
}

// apply emits the bounds of what b makes of the pieces of text.
func (b behavior) apply(all []piece, emit func(from, to int)) {
	for i := 0; i < len(all); i++ {
		p := all[i]
		switch b {
		case removed:
			if p.match {
				continue
			}
		case contiguous:
			for i+1 < len(all) && all[i+1].match == p.match {
				i++
			}
		case mergedWithPrevious:
			if !p.match && i+1 < len(all) && all[i+1].match {
				i++
			}
		case mergedWithNext:
			if p.match && i+1 < len(all) && !all[i+1].match {
				i++
			}
		}
		emit(p.from, all[i].to)
	}
}

func isPunctuation(r rune) bool {
	return unicode.IsPunct(r) || r < unicode.MaxASCII && unicode.IsSymbol(r)
}

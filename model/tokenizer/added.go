package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is one entry of tokenizer.json's added_tokens: a token that is cut
// out of the text before anything else happens to it.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // not beside a word character
	LStrip     bool   `json:"lstrip"`      // takes the white space on its left
	RStrip     bool   `json:"rstrip"`      // and on its right
	Normalized bool   `json:"normalized"`  // looked for in the normalized text
	Special    bool   `json:"special"`
}

// addedSet finds added tokens in text: the leftmost, and of those the longest.
type addedSet struct {
	byText  map[string]*addedToken
	lengths [256][]int // distinct lengths of the tokens with that first byte, longest first
}

// segment is a piece of the text: an added token, or (id < 0) text between them.
type segment struct {
	text  string
	id    int32
	first bool // at the start of the text
}

// add makes the set find token where text stands; of two tokens with one text the
// first stays.
func (s *addedSet) add(text string, token *addedToken) {
	if text == "" || s.byText[text] != nil {
		return
	}
	if s.byText == nil {
		s.byText = map[string]*addedToken{}
	}
	s.byText[text] = token
	l := &s.lengths[text[0]]
	if !slices.Contains(*l, len(text)) {
		*l = append(*l, len(text))
		slices.SortFunc(*l, func(a, b int) int { return b - a })
	}
}

// cut returns the segments of text in order, none of them empty.
func (s *addedSet) cut(text string) []segment {
	if text == "" {
		return nil
	}
	if len(s.byText) == 0 {
		return []segment{{text, -1, true}}
	}
	var out []segment
	done := 0 // text before it is in out
	for i := 0; i < len(text); {
		token, end := s.at(text, i)
		if token == nil {
			i++
			continue
		}
		if token.SingleWord && (endsInWord(text[:i]) || startsWithWord(text[end:])) {
			i = end
			continue
		}
		start := i
		if token.LStrip {
			start = done + len(strings.TrimRightFunc(text[done:i], unicode.IsSpace))
		}
		if token.RStrip {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
		}
		if done < start {
			out = append(out, segment{text[done:start], -1, done == 0})
		}
		out = append(out, segment{text[start:end], token.ID, start == 0})
		i, done = end, end
	}
	if done < len(text) {
		out = append(out, segment{text[done:], -1, done == 0})
	}
	return out
}

// at returns the longest token at text[i:] and where it ends.
func (s *addedSet) at(text string, i int) (*addedToken, int) {
	for _, n := range s.lengths[text[i]] {
		if i+n <= len(text) {
			if t := s.byText[text[i:i+n]]; t != nil {
				return t, i + n
			}
		}
	}
	return nil, 0
}

func endsInWord(text string) bool {
	r, n := utf8.DecodeLastRuneInString(text)
	return n > 0 && isWord(r)
}

func startsWithWord(text string) bool {
	r, n := utf8.DecodeRuneInString(text)
	return n > 0 && isWord(r)
}

// isWord is \w as Unicode's regular expressions define it (UTS #18, annex C).
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc,
		unicode.Other_Alphabetic, unicode.Join_Control)
}

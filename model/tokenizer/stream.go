package tokenizer

import "strings"

// Stream decodes ids one at a time, as a model generates them.
type Stream struct {
	t       *Tokenizer
	context []string // the tokens of the text given out last
	held    []string // tokens since then: their last character is not complete
	raw     []byte   // the bytes that held stands for
}

// NewStream starts decoding a text. Special tokens add nothing to it. What Add and
// Flush return, joined, is what Decode(ids, true) returns.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Add takes the next id and returns the text that became complete with it: "" while
// the bytes of a character are still to come.
func (s *Stream) Add(id int32) string {
	if !s.t.known(id) || s.t.special[id] {
		return ""
	}
	s.held = append(s.held, s.t.tokens[id])
	s.raw = append(s.raw, s.t.decode.raw(s.t.tokens[id])...)
	if endsInsideRune(s.raw) {
		return ""
	}
	return s.Flush()
}

// Flush returns the text of a character that was left incomplete, as U+FFFD.
func (s *Stream) Flush() string {
	if len(s.held) == 0 {
		return ""
	}
	// What the held tokens add depends on those before them (a space at the start of
	// the text is stripped, elsewhere it stays), so both are decoded with context.
	before := s.t.text(append([]string(nil), s.context...))
	all := s.t.text(append(append([]string(nil), s.context...), s.held...))
	text, ok := strings.CutPrefix(all, before)
	if !ok { // stray bytes changed how the bytes before them read
		text = s.t.text(append([]string(nil), s.held...))
	}
	s.context, s.held, s.raw = s.held, nil, s.raw[:0]
	return text
}

package data

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"eisft/model/tokenizer"
)

// Encoded is a sample in tokens.
type Encoded struct {
	Where string
	IDs   []int32
	// Loss marks the tokens to be learned: Loss[i] means that IDs[i] is one to predict.
	// They are those of all Turns. A plain text has none.
	Loss []bool
	// Turns are the assistant's turns, in order.
	Turns []Turn
	// Dropped is how many later answers were left out to keep to the Encoder's limit.
	Dropped int
	// Cut says that a plain text was longer than the Encoder's limit.
	Cut bool
	// Removed is how many tokens fewer a conversation has than before its context was cut, or
	// exchanges were left out, to keep to the Encoder's limit.
	Removed int
	// Unrepeated is how many answers do not begin as the template's generation prompt ends,
	// <think> for example, and Unused what the prompt of the first of these has besides.
	Unrepeated int
	Unused     string
}

// Turn is an answer of the assistant within an Encoded.
type Turn struct {
	// Start and End bound its tokens, [Start, End): from the first one the model has to
	// produce to the one that ends the turn, inclusive.
	Start, End int
	// Message is the answer's index in Sample.Messages.
	Message int
	// Distance is how many tokens before Start the line starts that holds the answer;
	// -1 if it is not known. Only the first turn of a sample with a Fact has one.
	Distance int
}

// ErrTooLong is wrapped by Encode's error for a conversation whose first answer does
// not end within the limit.
var ErrTooLong = errors.New("sample is too long")

// Encoder renders samples with a chat template and tokenizes them. It is safe for
// concurrent use if its tokenizer and template are.
type Encoder struct {
	tokenizer *tokenizer.Tokenizer
	template  *tokenizer.Template
	max       int
	long      Long
	ends      func() ([]tokenizer.Token, error)
}

// NewEncoder returns an encoder of samples of at most maxTokens tokens (0: no limit).
// Without a template (nil) it encodes plain texts only.
//
// A longer conversation loses its last turns until it fits (Encoded.Dropped counts
// the answers); if not even the first answer fits, Encode fails with ErrTooLong. A plain text
// is cut off. [Encoder.Long] does otherwise.
func NewEncoder(tk *tokenizer.Tokenizer, tpl *tokenizer.Template, maxTokens int) *Encoder {
	return &Encoder{
		tokenizer: tk, template: tpl, max: maxTokens, long: LongKeepStart,
		ends: sync.OnceValues(func() ([]tokenizer.Token, error) { return tokenizer.EndsOfTurn(tk, tpl) }),
	}
}

// EndsOfTurn returns the special tokens with which the chat template ends an answer, as
// [tokenizer.EndsOfTurn] finds them. It fails for an encoder without a template.
func (e *Encoder) EndsOfTurn() ([]int32, error) {
	if e.template == nil {
		return nil, tokenizer.ErrNoTemplate
	}
	ends, err := e.ends()
	var ids []int32
	for _, end := range ends {
		if end.ID != tokenizer.NoToken {
			ids = append(ids, end.ID)
		}
	}
	return ids, err
}

// Encode tokenizes a sample.
//
// The ids of a conversation are those of its whole rendered text. An answer's tokens
// are found without knowing the template, from renderings of the conversation without
// the answer, and with other words in its place: they go from the end of the generation
// prompt to the token that ends the turn, inclusive (with Qwen3 the last turn includes the
// empty <think> block that its template writes, since the model has to produce it). What a
// prompt has and the text does not (<think> where answers of earlier turns are rendered
// without it) is not learned. The turn's first token is where the ids cease to be those
// of the text before it alone; where a token spans the border (a template that ends its
// prompt in a newline before an answer that starts with one), that token belongs to the
// answer.
//
// A token that the model's embedding has no row for is an error (see
// [tokenizer.Tokenizer.Limit]).
//
// Of a sample that is longer than the limit, with LongSplit, it is the first part.
func (e *Encoder) Encode(s Sample) (Encoded, error) {
	parts, err := e.Parts(s)
	if err != nil {
		return Encoded{}, err
	}
	return parts[0], nil
}

// lastFitting is the last turn but the final one that ends within the limit, or the first.
func (e *Encoder) lastFitting(turns []Turn) Turn {
	for i := len(turns) - 2; i > 0; i-- {
		if turns[i].End <= e.max {
			return turns[i]
		}
	}
	return turns[0]
}

// encodeMessages encodes a conversation whatever its length.
func (e *Encoder) encodeMessages(s Sample, messages []tokenizer.Message) (Encoded, error) {
	c, err := e.render(messages, s.Variables)
	if err != nil {
		return Encoded{}, err
	}
	spans, err := c.spans()
	if err != nil {
		return Encoded{}, err
	}
	t, err := newTokens(c, spans)
	if err != nil {
		return Encoded{}, err
	}
	enc := Encoded{Where: s.Where, IDs: t.ids, Loss: make([]bool, len(t.ids))}
	for _, span := range spans {
		turn := t.turn(span)
		enc.Turns = append(enc.Turns, turn)
		for j := turn.Start; j < turn.End; j++ {
			enc.Loss[j] = true
		}
		if span.unused != "" {
			enc.Unrepeated++
			enc.Unused = cmp.Or(enc.Unused, span.unused)
		}
	}
	if s.Fact != "" {
		at := strings.Index(c.text, s.Fact)
		if at < 0 {
			return Encoded{}, fmt.Errorf("the fact %q is not in the rendered text", s.Fact)
		}
		enc.Turns[0].Distance = enc.Turns[0].Start - t.index(at)
	}
	return enc, nil
}

// tokens are the tokens of a rendered conversation.
type tokens struct {
	tokenizer *tokenizer.Tokenizer
	text      string
	ids       []int32
	ends      []place // of turns, in order
}

// place is where a token stands: its bytes in the text, and its index among the tokens.
type place struct{ from, to, index int }

func newTokens(c *conversation, spans []span) (*tokens, error) {
	tk := c.encoder.tokenizer
	t := &tokens{tokenizer: tk, text: c.text, ids: tk.Encode(c.text, false)}
	var seen []tokenizer.Token
	for _, s := range spans {
		if slices.Contains(seen, s.end) {
			continue
		}
		seen = append(seen, s.end)
		if err := t.find(s.end); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(t.ends, func(a, b place) int { return a.from - b.from })
	return t, nil
}

// find notes all places of a token that ends turns.
func (t *tokens) find(end tokenizer.Token) error {
	if end.ID == tokenizer.NoToken {
		return nil
	}
	var at []int
	for i, id := range t.ids {
		if id == end.ID {
			at = append(at, i)
		}
	}
	if n := strings.Count(t.text, end.Text); n != len(at) {
		return fmt.Errorf("the text has %d times %s, its tokens %d times: the tokenizer does not take it as one token everywhere", n, end.Text, len(at))
	}
	from := 0
	for _, i := range at {
		from += strings.Index(t.text[from:], end.Text)
		t.ends = append(t.ends, place{from, from + len(end.Text), i})
		from += len(end.Text)
	}
	return nil
}

// turn returns the tokens of a span.
func (t *tokens) turn(s span) Turn {
	turn := Turn{Start: t.index(s.start), Message: s.message, Distance: -1}
	if s.end.ID == tokenizer.NoToken {
		turn.End = t.index(s.endAt + len(s.end.Text))
	} else {
		end := slices.IndexFunc(t.ends, func(p place) bool { return p.from == s.endAt })
		turn.End = t.ends[end].index + 1
	}
	return turn
}

// index returns how many tokens the text has before a byte offset; a token that spans
// the offset is not counted. It encodes no more than what follows the last end of a
// turn before the offset: a special token starts afresh in every tokenizer.
func (t *tokens) index(offset int) int {
	n, _ := slices.BinarySearchFunc(t.ends, offset, func(p place, offset int) int { return p.to - offset - 1 })
	from, base := 0, 0
	if n > 0 {
		from, base = t.ends[n-1].from, t.ends[n-1].index
	}
	piece := t.tokenizer.Encode(t.text[from:offset], false)
	return base + commonPrefix(piece, t.ids[base:])
}

// commonPrefix is how many elements a and b begin with alike.
func commonPrefix[T comparable](a, b []T) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

package data

import (
	"errors"
	"fmt"
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
	end       func() (endOfTurn, error)
}

// endOfTurn is the special token with which the template ends a turn.
type endOfTurn struct {
	text string
	id   int32
}

// NewEncoder returns an encoder of samples of at most maxTokens tokens (0: no limit).
// Without a template (nil) it encodes plain texts only.
//
// A longer conversation loses its last turns until it fits (Encoded.Dropped counts
// the answers); if not even the first answer fits, Encode fails with ErrTooLong: to cut
// the context could cut out what the answer needs. A plain text is cut off.
func NewEncoder(tk *tokenizer.Tokenizer, tpl *tokenizer.Template, maxTokens int) *Encoder {
	return &Encoder{
		tokenizer: tk, template: tpl, max: maxTokens,
		end: sync.OnceValues(func() (endOfTurn, error) { return findEndOfTurn(tk, tpl) }),
	}
}

// EndOfTurn returns the special token with which the chat template ends a turn. It fails
// for an encoder without a template, or with one that ends none.
func (e *Encoder) EndOfTurn() (int32, error) {
	if e.template == nil {
		return 0, tokenizer.ErrNoTemplate
	}
	end, err := e.end()
	return end.id, err
}

// findEndOfTurn renders an answer and takes the first token that follows it.
func findEndOfTurn(tk *tokenizer.Tokenizer, tpl *tokenizer.Template) (endOfTurn, error) {
	const answer = "The answer is 42"
	text, err := tpl.Render([]tokenizer.Message{{Role: "user", Content: "?"}, {Role: "assistant", Content: answer}}, tokenizer.RenderOptions{})
	if err != nil {
		return endOfTurn{}, fmt.Errorf("chat template: %w", err)
	}
	at := strings.LastIndex(text, answer)
	if at < 0 {
		return endOfTurn{}, fmt.Errorf("chat template: the answer %q is not in the rendered text %q", answer, text)
	}
	tail := strings.TrimSpace(text[at+len(answer):])
	ids := tk.Encode(tail, false)
	if len(ids) == 0 {
		return endOfTurn{}, errors.New("chat template: nothing follows an answer: a model trained with it would never learn to stop; add the end-of-turn token to the template")
	}
	end := endOfTurn{tk.Decode(ids[:1], false), ids[0]}
	if tk.Decode(ids[:1], true) != "" || !strings.HasPrefix(tail, end.text) {
		return endOfTurn{}, fmt.Errorf("chat template: an answer is followed by %q, which does not start with a special token of the tokenizer", tail)
	}
	return end, nil
}

// Encode tokenizes a sample.
//
// The ids of a conversation are those of its whole rendered text. An answer's tokens
// are found without knowing the template: the text rendered up to the answer, with the
// generation prompt, must be a prefix of the whole; what follows it, up to and including
// the end-of-turn token, is the turn (with Qwen3 the last one includes the empty
// <think> block that its template writes, since the model has to produce it). The
// turn's first token is where the ids cease to be those of the prompt alone; where a
// token spans the border (a template that ends its prompt in a newline before an answer
// that starts with one), that token belongs to the answer.
//
// A token that the model's embedding has no row for is an error (see
// [tokenizer.Tokenizer.Limit]).
func (e *Encoder) Encode(s Sample) (Encoded, error) {
	enc, err := e.encode(s)
	if failed := e.tokenizer.Err(); failed != nil {
		err = fmt.Errorf("%s: %w", s.Where, failed)
	}
	if err != nil {
		return Encoded{}, err
	}
	if err := e.tokenizer.Check(enc.IDs); err != nil {
		return Encoded{}, fmt.Errorf("%s: %w", s.Where, err)
	}
	return enc, nil
}

func (e *Encoder) encode(s Sample) (Encoded, error) {
	if err := s.Check(); err != nil {
		return Encoded{}, err
	}
	if s.Messages == nil {
		return e.encodeText(s), nil
	}
	if e.template == nil {
		return Encoded{}, fmt.Errorf("%s: %w: the sample is a conversation, which only a template turns into text; add a chat_template.jinja to the model's folder", s.Where, tokenizer.ErrNoTemplate)
	}
	answers := 0
	for messages := s.Messages; ; {
		enc, err := e.encodeMessages(s, messages)
		if err != nil {
			return Encoded{}, fmt.Errorf("%s: %w", s.Where, err)
		}
		answers = max(answers, len(enc.Turns))
		if e.max == 0 || len(enc.IDs) <= e.max {
			enc.Dropped = answers - len(enc.Turns)
			return enc, nil
		}
		if len(enc.Turns) == 1 {
			return Encoded{}, fmt.Errorf("%s: %w: %d tokens with the first answer, the limit is %d", s.Where, ErrTooLong, len(enc.IDs), e.max)
		}
		messages = messages[:e.lastFitting(enc.Turns).Message+1]
	}
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

func (e *Encoder) encodeText(s Sample) Encoded {
	ids := e.tokenizer.Encode(s.Text, true)
	if e.max > 0 {
		ids = ids[:min(len(ids), e.max)]
	}
	return Encoded{Where: s.Where, IDs: ids, Loss: make([]bool, len(ids))}
}

// encodeMessages encodes a conversation whatever its length.
func (e *Encoder) encodeMessages(s Sample, messages []tokenizer.Message) (Encoded, error) {
	end, err := e.end()
	if err != nil {
		return Encoded{}, err
	}
	whole, err := e.template.Render(messages, tokenizer.RenderOptions{})
	if err != nil {
		return Encoded{}, fmt.Errorf("chat template: %w", err)
	}
	t, err := newTokens(e.tokenizer, end, whole)
	if err != nil {
		return Encoded{}, err
	}
	enc := Encoded{Where: s.Where, IDs: t.ids, Loss: make([]bool, len(t.ids))}
	for i, m := range messages {
		if strings.Contains(m.Content, end.text) {
			return Encoded{}, fmt.Errorf("message %d contains %s, which ends a turn", i+1, end.text)
		}
		if m.Role != "assistant" {
			continue
		}
		turn, err := e.turn(t, messages[:i])
		if err != nil {
			return Encoded{}, fmt.Errorf("message %d: %w", i+1, err)
		}
		enc.Turns = append(enc.Turns, turn)
		for j := turn.Start; j < turn.End; j++ {
			enc.Loss[j] = true
		}
	}
	if s.Fact != "" {
		at := strings.Index(whole, s.Fact)
		if at < 0 {
			return Encoded{}, fmt.Errorf("the fact %q is not in the rendered text", s.Fact)
		}
		enc.Turns[0].Distance = enc.Turns[0].Start - t.index(at)
	}
	return enc, nil
}

// turn finds the answer that follows the messages before it.
func (e *Encoder) turn(t *tokens, before []tokenizer.Message) (Turn, error) {
	prompt, err := e.template.Render(before, tokenizer.RenderOptions{GenerationPrompt: true})
	if err != nil {
		return Turn{}, fmt.Errorf("chat template: %w", err)
	}
	if !strings.HasPrefix(t.text, prompt) {
		n := commonPrefix(t.text, prompt)
		return Turn{}, fmt.Errorf("the chat template renders the turns before this answer differently when they are followed by it: at byte %d %q, without it %q", n, excerpt(t.text[n:]), excerpt(prompt[n:]))
	}
	ended := strings.Count(prompt, t.end.text)
	if ended == len(t.ends) {
		return Turn{}, fmt.Errorf("the chat template does not end this answer with %s", t.end.text)
	}
	return Turn{Start: t.index(len(prompt)), End: t.ends[ended] + 1, Message: len(before), Distance: -1}, nil
}

// tokens are the tokens of a rendered conversation.
type tokens struct {
	tokenizer *tokenizer.Tokenizer
	end       endOfTurn
	text      string
	ids       []int32
	ends      []int // where end.id is in ids, one for every end.text in text
}

func newTokens(tk *tokenizer.Tokenizer, end endOfTurn, text string) (*tokens, error) {
	t := &tokens{tokenizer: tk, end: end, text: text, ids: tk.Encode(text, false)}
	for i, id := range t.ids {
		if id == end.id {
			t.ends = append(t.ends, i)
		}
	}
	if n := strings.Count(text, end.text); n != len(t.ends) {
		return nil, fmt.Errorf("the text has %d times %s, its tokens %d times: the tokenizer does not take it as one token everywhere", n, end.text, len(t.ends))
	}
	return t, nil
}

// index returns how many tokens the text has before a byte offset; a token that spans
// the offset is not counted. It encodes no more than what follows the last end of a
// turn before the offset: a special token starts afresh in every tokenizer.
func (t *tokens) index(offset int) int {
	head := t.text[:offset]
	start, base := 0, 0
	if at := strings.LastIndex(head, t.end.text); at >= 0 {
		start, base = at, t.ends[strings.Count(head[:at], t.end.text)]
	}
	piece := t.tokenizer.Encode(head[start:], false)
	rest := t.ids[base:]
	n := 0
	for n < len(piece) && n < len(rest) && piece[n] == rest[n] {
		n++
	}
	return base + n
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// excerpt is the beginning of a text, for messages.
func excerpt(s string) string { return s[:min(len(s), 40)] }

// Package chat holds a conversation with a model turn by turn: it puts the
// text of a turn into the form of the chat template, feeds only what is new and
// writes the answer as it comes. The conversation lives in the stream's state
// alone, so that it may be of any length, and may go on in another process.
package chat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/tokenizer"
)

// Stream is what a conversation is held with: a [model.Stream], or exported graphs.
type Stream interface {
	Read(ctx context.Context, ids []int32, progress func(done int)) ([]float32, error)
	Generate(ctx context.Context, next []float32, o model.GenerateOptions) ([]int32, error)
	Seen() int
}

// Session is a conversation, or a raw text that is continued. It is not safe
// for concurrent use.
type Session struct {
	stream    Stream
	tokenizer *tokenizer.Tokenizer
	form      Form
	stop      []int32
	turn      turn
}

// turn says where a conversation stands.
type turn string

const (
	begin    turn = "begin"    // nothing has been read
	open     turn = "open"     // in the user's turn
	answered turn = "answered" // behind an answer, before the token that ends it
	raw      turn = "raw"      // a text without turns
)

// turnNote is the name under which a state file keeps the turn.
const turnNote = "turn"

// New begins a conversation in the form of a chat template, in a stream with the options;
// without a template (nil) texts are read and continued as they are.
func New(m *model.Model, o model.StreamOptions, tk *tokenizer.Tokenizer, tpl *tokenizer.Template) (*Session, error) {
	return WithStream(m.NewStream(o), m.Base.Config, tk, tpl)
}

// WithStream is New over a stream that has read nothing yet, of a model with the given
// configuration.
func WithStream(stream Stream, c *hf.Config, tk *tokenizer.Tokenizer, tpl *tokenizer.Template) (*Session, error) {
	s, err := newSession(c, tk, tpl)
	if err != nil {
		return nil, err
	}
	s.stream = stream
	return s, nil
}

// Open goes on with the conversation that Save has written, in a stream with the options.
func Open(path string, m *model.Model, o model.StreamOptions, tk *tokenizer.Tokenizer, tpl *tokenizer.Template) (*Session, error) {
	s, err := newSession(m.Base.Config, tk, tpl)
	if err != nil {
		return nil, err
	}
	stream, notes, err := m.OpenStream(path, o)
	if err != nil {
		return nil, err
	}
	was := turn(notes[turnNote])
	switch {
	case was != begin && was != open && was != answered && was != raw:
		return nil, fmt.Errorf("%s: the note %q is %q; the state was not saved by a conversation", path, turnNote, was)
	case was == raw && tpl != nil:
		return nil, fmt.Errorf("%s: the state is that of a raw text, which has no turns; go on with it without the chat template", path)
	case was != raw && tpl == nil:
		return nil, fmt.Errorf("%s: the state is that of a conversation; go on with it with the chat template", path)
	}
	s.stream, s.turn = stream, was
	return s, nil
}

func newSession(c *hf.Config, tk *tokenizer.Tokenizer, tpl *tokenizer.Template) (*Session, error) {
	s := &Session{tokenizer: tk, stop: StopIDs(c, tk, tpl), turn: raw}
	if tpl == nil {
		return s, nil
	}
	var err error
	if s.form, err = FormOf(tpl); err != nil {
		return nil, err
	}
	if err := tk.Err(); err != nil {
		return nil, err
	}
	s.turn = begin
	return s, nil
}

// StopIDs returns the tokens that end an answer: those of a model's configuration, the
// tokenizer's EOS and, where there is a chat template, what it ends a turn with.
func StopIDs(c *hf.Config, tk *tokenizer.Tokenizer, tpl *tokenizer.Template) []int32 {
	var ids []int32
	for _, id := range c.EOS {
		ids = append(ids, int32(id))
	}
	if id, ok := tk.TokenID(tk.EOS()); ok {
		ids = append(ids, id)
	}
	if tpl == nil {
		return ids
	}
	if ends, err := tokenizer.EndsOfTurn(tk, tpl); err == nil { // else the model's own tokens have to end an answer
		for _, end := range ends {
			if end.ID != tokenizer.NoToken {
				ids = append(ids, end.ID)
			}
		}
	}
	return ids
}

// Save writes the state of the conversation, in which Open goes on. It fails for
// a stream that is not a [model.Stream].
func (s *Session) Save(path string) error {
	stream, ok := s.stream.(*model.Stream)
	if !ok {
		return errors.New("only the state of a Go model can be saved, not that of exported graphs")
	}
	return stream.Save(path, map[string]string{turnNote: string(s.turn)})
}

// Tokens returns how many tokens the conversation has had.
func (s *Session) Tokens() int { return s.stream.Seen() }

// Progress is told how many of how many tokens have been read, from 0 on.
type Progress func(done, total int)

// Read reads a text as part of the user's turn, which stays open: what is read
// or asked next stands in the same turn, behind a blank line.
func (s *Session) Read(ctx context.Context, text string, progress Progress) error {
	if strings.TrimSpace(text) == "" {
		return errEmpty
	}
	ids, err := s.encode(s.continued(text))
	if err != nil {
		return err
	}
	if s.turn != raw {
		s.turn = open
	}
	_, err = s.stream.Read(ctx, ids, progress.of(len(ids)))
	return err
}

// Check reports a text that cannot be read, such as one with a token that the model's
// embedding has no row for.
func (s *Session) Check(text string) error {
	_, err := s.encode(s.continued(text))
	return err
}

// AnswerOptions say how an answer is written.
type AnswerOptions struct {
	MaxNewTokens int
	Sampler      *model.Sampler // nil: greedy
	Progress     Progress       // of reading the question; may be nil
	// Text, if not nil, receives the answer as it comes, in whole characters.
	Text func(string) error
}

// Ask reads a text as the rest of the user's turn (it may be empty when Read
// has left one open) and returns the answer.
func (s *Session) Ask(ctx context.Context, text string, o AnswerOptions) (string, error) {
	if strings.TrimSpace(text) == "" && s.turn != open {
		return "", errEmpty
	}
	ids, err := s.encode(s.continued(text) + s.form.End)
	if err != nil {
		return "", err
	}
	next, err := s.stream.Read(ctx, ids, o.Progress.of(len(ids)))
	if err != nil {
		return "", err
	}
	if s.turn != raw {
		s.turn = answered
	}
	var answer strings.Builder
	emit := func(piece string) error {
		answer.WriteString(piece)
		if o.Text == nil || piece == "" {
			return nil
		}
		return o.Text(piece)
	}
	decoder := s.tokenizer.NewStream()
	_, err = s.stream.Generate(ctx, next, model.GenerateOptions{
		MaxNewTokens: o.MaxNewTokens, Sampler: o.Sampler, Stop: s.stop,
		Token: func(id int32) error { return emit(decoder.Add(id)) },
	})
	return answer.String(), errors.Join(err, emit(decoder.Flush()))
}

var errEmpty = errors.New("there is nothing to read: the prompt is empty")

// continued puts what stands before a text in the conversation in front of it.
// Space at the end of a turn's text, such as a file's last line break, is
// dropped: the template writes its own.
func (s *Session) continued(text string) string {
	if s.turn == raw {
		return text
	}
	text = strings.TrimRightFunc(text, unicode.IsSpace)
	switch {
	case s.turn == begin:
		return s.form.First + text
	case s.turn == answered:
		return s.form.Next + text
	case text == "":
		return ""
	default:
		return "\n\n" + text
	}
}

// encode tokenizes text. Special tokens of a template stand in it; a raw text
// gets those that the tokenizer puts at the beginning. It fails for tokens that the model's
// embedding has no row for, and where the tokenizer fails.
func (s *Session) encode(text string) ([]int32, error) {
	ids := s.tokenizer.Encode(text, s.turn == raw && s.stream.Seen() == 0)
	if err := s.tokenizer.Err(); err != nil {
		return nil, err
	}
	return ids, s.tokenizer.Check(ids)
}

// of begins a reading of total ids and returns p as the stream's callback.
func (p Progress) of(total int) func(done int) {
	if p == nil {
		return nil
	}
	p(0, total)
	return func(done int) { p(done, total) }
}

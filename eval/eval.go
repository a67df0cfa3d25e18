// Package eval measures what a model recalls of long input: it reads the
// context of a sample under a policy, answers its questions for real, one
// token after the other, and scores the answers by how far back the fact lies.
package eval

import (
	"context"
	"fmt"
	"slices"
	"time"

	"eisft/data"
	"eisft/model"
	"eisft/model/chat"
	"eisft/model/tokenizer"
)

// Sample is an encoded conversation with the answers that count as right.
type Sample struct {
	data.Encoded
	Accepted [][]string // of each of Turns
}

// Load encodes the first n samples of a source (0: all).
func Load(s *data.Source, e *data.Encoder, n int) ([]Sample, error) {
	if n == 0 || n > s.Len() {
		n = s.Len()
	}
	out := make([]Sample, n)
	for i := range out {
		row, err := s.At(i)
		if err != nil {
			return nil, err
		}
		enc, err := e.Encode(row)
		if err != nil {
			return nil, err
		}
		if len(enc.Turns) == 0 {
			return nil, fmt.Errorf("%s: the sample is a plain text; to evaluate recall it needs a question and its answer", enc.Where)
		}
		out[i] = Sample{Encoded: enc}
		for _, t := range enc.Turns {
			accepted := []string{row.Messages[t.Message].Content}
			if len(enc.Turns) == 1 && len(row.Answers) > 0 {
				accepted = row.Answers
			}
			out[i].Accepted = append(out[i].Accepted, accepted)
		}
	}
	return out, nil
}

// Questions counts the questions of samples.
func Questions(samples []Sample) int {
	n := 0
	for _, s := range samples {
		n += len(s.Turns)
	}
	return n
}

// Policy is a way for the base model to read a long input.
type Policy string

// The policies.
const (
	PolicyFull         Policy = "full"         // full attention, unbounded
	PolicyWindow       Policy = "window"       // sinks and window only
	PolicyEdgeInfinite Policy = "edgeinfinite" // with the trained block
)

// Policies lists all policies.
var Policies = []Policy{PolicyFull, PolicyWindow, PolicyEdgeInfinite}

// WithPolicy returns the model that reads as a policy says: with full
// attention, with sinks and window only, or with m's own block.
func WithPolicy(m *model.Model, p Policy) (*model.Model, error) {
	switch p {
	case PolicyFull:
		return model.New(m.Base, model.FullAttention(m.Spec.Segment), nil)
	case PolicyWindow:
		return model.New(m.Base, model.WindowOnly(m.Spec), nil)
	case PolicyEdgeInfinite:
		return m, nil
	default:
		return nil, fmt.Errorf("policy %q is not known; choose full, window or edgeinfinite", p)
	}
}

// Options say how answers are generated.
type Options struct {
	// MaxNewTokens bounds an answer. It is cut earlier when it is margin tokens
	// longer than the right one.
	MaxNewTokens int
	// Stream is how every sample is read.
	Stream model.StreamOptions
	// Answered, if not nil, is called with every answer as soon as it is scored.
	Answered func(Answer)
}

// margin is how much longer than the right answer a generated one may become:
// it is wrong by then, and writing on only costs time.
const margin = 16

// Answer is one scored question.
type Answer struct {
	Where    string   `json:"where"`         // the sample
	Turn     int      `json:"turn"`          // of the assistant's turns, from 0
	Distance int      `json:"distance"`      // tokens from the fact to the answer; -1: not known
	Prompt   int      `json:"prompt_tokens"` // read before the answer
	Accepted []string `json:"accepted"`
	Text     string   `json:"answer"`
	EM       float64  `json:"em"`
	F1       float64  `json:"f1"`
	NLL      float64  `json:"nll"`    // of the right answer, summed over its tokens, in nats
	Tokens   int      `json:"tokens"` // of the right answer, its end included
}

// Run answers all questions of samples under a policy, greedily, and scores
// them. A question of a conversation is asked after the right answers to those
// before it. The same arguments give the same answers. Cancelling ctx ends it
// with an error.
func Run(ctx context.Context, m *model.Model, p Policy, tk *tokenizer.Tokenizer, samples []Sample, o Options) (*Result, error) {
	m, err := WithPolicy(m, p)
	if err != nil {
		return nil, err
	}
	e := &evaluation{model: m, tokenizer: tk, stop: chat.StopIDs(m.Base.Config, tk), options: o, result: Result{Policy: p}}
	for _, s := range samples {
		if err := e.sample(ctx, s); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Where, err)
		}
	}
	e.result.score()
	return &e.result, nil
}

// evaluation is one Run.
type evaluation struct {
	model     *model.Model
	tokenizer *tokenizer.Tokenizer
	stop      []int32
	options   Options
	result    Result
}

func (e *evaluation) sample(ctx context.Context, s Sample) error {
	started, before := time.Now(), e.result.Speed
	texts := make([]string, len(s.Turns))
	nll, err := readTurns(ctx, e.model, e.options.Stream, s, func(i int, st *model.Stream, next []float32) (err error) {
		texts[i], err = e.write(ctx, st, next, s.answer(i))
		return err
	})
	if err != nil {
		return err
	}
	speed := &e.result.Speed
	speed.ReadTokens += s.Turns[len(s.Turns)-1].End
	speed.ReadSeconds += time.Since(started).Seconds() - (speed.WriteSeconds - before.WriteSeconds)
	for i, t := range s.Turns {
		a := Answer{
			Where: s.Where, Turn: i, Distance: t.Distance, Prompt: t.Start, Accepted: s.Accepted[i], Text: texts[i],
			EM: ExactMatch(texts[i], s.Accepted[i]), F1: F1(texts[i], s.Accepted[i]), NLL: nll[i], Tokens: len(s.answer(i)),
		}
		e.result.Answers = append(e.result.Answers, a)
		if e.options.Answered != nil {
			e.options.Answered(a)
		}
	}
	return nil
}

// write generates an answer in place of the right one.
func (e *evaluation) write(ctx context.Context, st *model.Stream, next []float32, right []int32) (string, error) {
	started := time.Now()
	ids, err := st.Generate(ctx, next, model.GenerateOptions{
		MaxNewTokens: min(e.options.MaxNewTokens, len(right)+margin),
		Stop:         append(slices.Clone(e.stop), right[len(right)-1]),
	})
	e.result.Speed.WrittenTokens += len(ids)
	e.result.Speed.WriteSeconds += time.Since(started).Seconds()
	return e.tokenizer.Decode(ids, true), err
}

// answer returns the tokens of the right answer to question i, its end included.
func (s Sample) answer(i int) []int32 { return s.IDs[s.Turns[i].Start:s.Turns[i].End] }

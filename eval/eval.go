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
	// Stop are tokens that end an answer, beside those that end any text of the model:
	// what the chat template puts behind one.
	Stop []int32
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
		if out[i], err = NewSample(e, row); err != nil {
			return nil, err
		}
		if len(out[i].Turns) == 0 {
			return nil, fmt.Errorf("%s: the sample is a plain text; to evaluate recall it needs a question and its answer", out[i].Where)
		}
	}
	return out, nil
}

// NewSample encodes a row. A plain text has no questions.
func NewSample(e *data.Encoder, row data.Sample) (Sample, error) {
	enc, err := e.Encode(row)
	if err != nil || len(enc.Turns) == 0 {
		return Sample{Encoded: enc}, err
	}
	ends, err := e.EndsOfTurn()
	if err != nil {
		return Sample{}, err
	}
	s := Sample{Encoded: enc, Stop: ends}
	for _, t := range enc.Turns {
		accepted := []string{row.Messages[t.Message].Content}
		if len(enc.Turns) == 1 && len(row.Answers) > 0 {
			accepted = row.Answers
		}
		s.Accepted = append(s.Accepted, accepted)
	}
	return s, nil
}

// Questions counts the questions of samples.
func Questions(samples []Sample) int {
	n := 0
	for _, s := range samples {
		n += len(s.Turns)
	}
	return n
}

// Options say how answers are generated.
type Options struct {
	MaxNewTokens int // bounds an answer
	// Stream is how every sample is read.
	Stream model.StreamOptions
	// Answered, if not nil, is called with every answer as soon as it is scored.
	Answered func(Answer)
}

// Answer is one scored question.
type Answer struct {
	Where    string   `json:"where"`         // the sample
	Turn     int      `json:"turn"`          // of the assistant's turns, from 0
	Distance int      `json:"distance"`      // tokens from the fact to the answer; -1: not known
	Prompt   int      `json:"prompt_tokens"` // read before the answer
	Accepted []string `json:"accepted"`
	Text     string   `json:"answer"`
	Metrics  Figures  `json:"-"`      // in a file beside the others: em, f1
	NLL      float64  `json:"nll"`    // of the right answer, summed over its tokens, in nats
	Tokens   int      `json:"tokens"` // of the right answer, its end included
}

// MarshalJSON writes the metrics as keys of their own.
func (a Answer) MarshalJSON() ([]byte, error) {
	type fields Answer
	return a.Metrics.marshal(fields(a))
}

// UnmarshalJSON reads what MarshalJSON has written.
func (a *Answer) UnmarshalJSON(text []byte) error {
	type fields Answer
	return a.Metrics.unmarshal(text, (*fields)(a))
}

// Run answers all questions of samples under a policy, greedily, and scores
// them. Nothing of a right answer is known while one is generated: not where it ends,
// nor how long it is. A question of a conversation is asked after the right answers to
// those before it. m's block says what is near and far, whatever the policy. The same
// arguments give the same answers. Cancelling ctx ends it with an error.
func Run(ctx context.Context, m *model.Model, p Policy, tk *tokenizer.Tokenizer, samples []Sample, o Options) (*Result, error) {
	block := m
	m, err := WithPolicy(block, p)
	if err != nil {
		return nil, err
	}
	e := &evaluation{model: m, tokenizer: tk, stop: chat.StopIDs(m.Base.Config, tk, nil), options: o, result: Result{Policy: p, Bounds: BoundsOf(block.Spec), Budget: BudgetOf(block, m)}}
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
		texts[i], err = e.write(ctx, st, next, s.Stop)
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
			Metrics: figuresOf(texts[i], s.Accepted[i]), NLL: nll[i], Tokens: len(s.answer(i)),
		}
		e.result.Answers = append(e.result.Answers, a)
		if e.options.Answered != nil {
			e.options.Answered(a)
		}
	}
	return nil
}

// write generates an answer, up to a token that ends the model's texts or one of stop.
func (e *evaluation) write(ctx context.Context, st *model.Stream, next []float32, stop []int32) (string, error) {
	started := time.Now()
	ids, err := st.Generate(ctx, next, model.GenerateOptions{
		MaxNewTokens: e.options.MaxNewTokens, Stop: slices.Concat(e.stop, stop),
	})
	e.result.Speed.WrittenTokens += len(ids)
	e.result.Speed.WriteSeconds += time.Since(started).Seconds()
	return e.tokenizer.Decode(ids, true), err
}

// answer returns the tokens of the right answer to question i, its end included.
func (s Sample) answer(i int) []int32 { return s.IDs[s.Turns[i].Start:s.Turns[i].End] }

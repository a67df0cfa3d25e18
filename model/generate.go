package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// GenerateOptions say how a stream writes.
type GenerateOptions struct {
	// MaxNewTokens is the most tokens that are written.
	MaxNewTokens int
	// Stop are the ids that end the text.
	Stop []int32
	// Sampler chooses each token; nil is greedy.
	Sampler *Sampler
	// Token, if not nil, is called with every token as soon as it is chosen. Its
	// error ends the generation.
	Token func(id int32) error
}

// Read feeds ids and returns the logits [V] of what comes next. progress, if
// not nil, is called with the number of ids read so far.
func (st *Stream) Read(ctx context.Context, ids []int32, progress func(done int)) ([]float32, error) {
	if len(ids) == 0 {
		return nil, errors.New("there is nothing to read: the input has no tokens")
	}
	d := st.model.Base.Dims.Hidden
	next := make([]float32, st.model.Base.Head.Out)
	err := st.Feed(ctx, ids, len(ids)-1, func(first int, hidden []float32) error {
		done := first + len(hidden)/d
		if done == len(ids) {
			st.Logits(next, hidden)
		}
		if progress != nil {
			progress(done)
		}
		return nil
	})
	return next, err
}

// Seen returns how many tokens have been read.
func (st *Stream) Seen() int { return st.State.Seen }

// Generate writes tokens one by one, from the logits next [V] that Read
// returned (they are overwritten) up to a stop token or MaxNewTokens. It
// returns them without the stop token. The stream has then read what was
// returned, but not the stop token. When ctx is cancelled or Token fails, the
// tokens written until then come with the error.
func (st *Stream) Generate(ctx context.Context, next []float32, o GenerateOptions) ([]int32, error) {
	return Generate(next, o, func(ids []int32) error {
		return st.Feed(ctx, ids, 0, func(_ int, hidden []float32) error {
			st.Logits(next, hidden)
			return nil
		})
	})
}

// Generate is Stream.Generate for whatever reads tokens: feed reads one and
// overwrites next with the logits of what follows it.
func Generate(next []float32, o GenerateOptions, feed func(ids []int32) error) ([]int32, error) {
	var out []int32
	for len(out) < o.MaxNewTokens {
		id := o.Sampler.choose(next)
		if id < 0 {
			return out, fmt.Errorf("token %d of the answer: the model's logits are not numbers; its weights or the block's are damaged", len(out)+1)
		}
		if slices.Contains(o.Stop, id) {
			break
		}
		out = append(out, id)
		if o.Token != nil {
			if err := o.Token(id); err != nil {
				return out, err
			}
		}
		if err := feed(out[len(out)-1:]); err != nil {
			return out, err
		}
	}
	return out, nil
}

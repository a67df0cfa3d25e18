package model

import (
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

// Generate is Reader.Generate for whatever reads tokens: feed reads one and
// overwrites next with the logits of what follows it.
func Generate(next []float32, o GenerateOptions, feed func(ids []int32) error) ([]int32, error) {
	var out []int32
	for len(out) < o.MaxNewTokens {
		id := int32(-1)
		if numbers(next) {
			id = o.Sampler.choose(next)
		}
		if id < 0 {
			return out, fmt.Errorf("token %d of the answer: %w; its weights or the block's are damaged", len(out)+1, ErrNotNumbers)
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

package model

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"eisft/model/kernels"
)

// Sampler draws tokens from softmax(logits / temperature), cut to the nucleus:
// the fewest tokens whose probabilities reach topP (arXiv 1904.09751). A nil
// Sampler is greedy. The same seed draws the same tokens.
type Sampler struct {
	temperature, topP float64
	random            *rand.Rand
}

// NewSampler returns a sampler. Temperature 0 is greedy; topP 1 cuts nothing.
func NewSampler(temperature, topP float64, seed uint64) (*Sampler, error) {
	if !(temperature >= 0) {
		return nil, fmt.Errorf("temperature is %v; it must be 0 (always the likeliest token) or more", temperature)
	}
	if !(topP > 0 && topP <= 1) {
		return nil, fmt.Errorf("top-p is %v; it must be more than 0 and at most 1", topP)
	}
	if temperature == 0 {
		return nil, nil
	}
	return &Sampler{temperature: temperature, topP: topP, random: rand.New(rand.NewPCG(seed, 0))}, nil
}

// candidate is a token that may be drawn.
type candidate struct {
	id          int32
	probability float32
}

// choose returns the next token, or -1 where logits are not numbers. It
// overwrites the logits [V].
func (s *Sampler) choose(logits []float32) int32 {
	best := kernels.ArgMax(logits)
	if s == nil || best < 0 {
		return int32(best)
	}
	top := logits[best]
	for i, v := range logits {
		logits[i] = float32(float64(v-top) / s.temperature) // no overflow, however cold
	}
	kernels.Softmax(logits)
	nucleus, mass := s.nucleus(logits)
	if len(nucleus) == 0 {
		return -1
	}
	r := s.random.Float32() * mass
	for _, c := range nucleus {
		if r -= c.probability; r < 0 {
			return c.id
		}
	}
	return nucleus[0].id // rounding left a rest beyond the last one
}

// nucleus returns the tokens that may be drawn, likeliest first, and their
// probability together.
func (s *Sampler) nucleus(p []float32) (nucleus []candidate, mass float32) {
	// All tokens below this together do not reach the share that is cut off, so
	// that none of them is in the nucleus: few are left to sort.
	least := float32((1 - s.topP) / float64(len(p)))
	for i, v := range p {
		if v > least {
			nucleus = append(nucleus, candidate{int32(i), v})
		}
	}
	slices.SortFunc(nucleus, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.probability, a.probability), cmp.Compare(a.id, b.id))
	})
	for i, c := range nucleus {
		if mass += c.probability; float64(mass) >= s.topP {
			return nucleus[:i+1], mass
		}
	}
	return nucleus, mass
}

package data

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Order returns the permutation of 0..n-1 in which an epoch reads the samples. It
// depends on nothing but its arguments: Fisher-Yates, drawing from PCG(seed, epoch).
func Order(seed uint64, epoch, n int) []int {
	random := rand.NewPCG(seed, uint64(epoch))
	order := make([]int, n)
	for i := range order {
		j := int(random.Uint64() % uint64(i+1)) // n is far below 2^64: no bias to speak of
		order[i] = order[j]
		order[j] = i
	}
	return order
}

// Cursor is a position in the endless sequence of shuffled epochs: the next sample is
// Order(seed, Epoch, n)[Index]. A training run saves it and resumes from it.
type Cursor struct {
	Epoch int `json:"epoch" yaml:"epoch"`
	Index int `json:"index" yaml:"index"`
}

// Sampler walks through the shuffled epochs of samples.
type Sampler struct {
	seed   uint64
	mix    mixture
	cursor Cursor
	order  []int // of the cursor's epoch
}

// NewSampler starts at a cursor of n samples; the zero Cursor is the beginning. The cursor must be
// one of the same n samples: an index beyond them is an error.
func NewSampler(seed uint64, n int, at Cursor) (*Sampler, error) {
	return newSampler(seed, mixture{n: n}, at)
}

func newSampler(seed uint64, mix mixture, at Cursor) (*Sampler, error) {
	if mix.n <= 0 {
		return nil, fmt.Errorf("sample order: %w", ErrEmpty)
	}
	if at.Epoch < 0 || at.Epoch > math.MaxInt32 || at.Index < 0 {
		return nil, fmt.Errorf("sample order: cannot resume at sample %d of epoch %d", at.Index, at.Epoch)
	}
	s := &Sampler{seed: seed, mix: mix, cursor: at, order: mix.order(seed, at.Epoch)}
	if at.Index > len(s.order) {
		return nil, fmt.Errorf("sample order: cannot resume at sample %d of epoch %d: there are %d samples; was the data replaced?", at.Index, at.Epoch, len(s.order))
	}
	return s, nil
}

// Next returns the next sample's number and moves on.
func (s *Sampler) Next() int {
	for s.cursor.Index == len(s.order) {
		s.cursor = Cursor{Epoch: s.cursor.Epoch + 1}
		s.order = s.mix.order(s.seed, s.cursor.Epoch)
	}
	i := s.order[s.cursor.Index]
	s.cursor.Index++
	return i
}

// Cursor is where Next will go on.
func (s *Sampler) Cursor() Cursor { return s.cursor }

package data

import (
	"fmt"
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

// Sampler walks through the shuffled epochs of n samples.
type Sampler struct {
	seed   uint64
	n      int
	cursor Cursor
	order  []int // of the cursor's epoch
}

// NewSampler starts at a cursor; the zero Cursor is the beginning. The cursor must be
// one of the same n samples: an index beyond them is an error.
func NewSampler(seed uint64, n int, at Cursor) (*Sampler, error) {
	if n <= 0 {
		return nil, fmt.Errorf("sample order: %w", ErrEmpty)
	}
	if at.Epoch < 0 || at.Index < 0 || at.Index > n {
		return nil, fmt.Errorf("sample order: cannot resume at sample %d of epoch %d: there are %d samples; was the data replaced?", at.Index, at.Epoch, n)
	}
	return &Sampler{seed: seed, n: n, cursor: at, order: Order(seed, at.Epoch, n)}, nil
}

// Next returns the next sample's number and moves on.
func (s *Sampler) Next() int {
	if s.cursor.Index == s.n {
		s.cursor = Cursor{Epoch: s.cursor.Epoch + 1}
		s.order = Order(s.seed, s.cursor.Epoch, s.n)
	}
	i := s.order[s.cursor.Index]
	s.cursor.Index++
	return i
}

// Cursor is where Next will go on.
func (s *Sampler) Cursor() Cursor { return s.cursor }

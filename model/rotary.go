package model

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"eisft/model/hf"
	"eisft/model/kernels"
)

// Rotary is a layer's rotary position embedding (RoFormer, arXiv 2104.09864).
// Of each head, dimensions i and i+m turn together for i < m; with m below d/2
// the rest of the head stays as it is (partial rotary); with m of 0 all of it does.
//
// Two types have other frequencies for sequences beyond the base's original
// length: dynamic and longrope. A stream cannot know how long its sequence will
// be, and keys that were turned one way do not fit queries turned another way.
// So the frequencies are always those within the original length: compact
// positions stay below S+R+W+L whatever is read, and a stream that would go
// beyond is refused (see [Stream.Feed]).
type Rotary struct {
	InvFreq []float32 // [m]
	Scale   float32   // factor of cosines and sines
	Limit   int       // first position that needs other frequencies, or queries of another scale; 0: there is none

	mu       sync.Mutex
	cos, sin []float32 // of positions 0, 1, 2, …
}

func newRotary(r hf.Rope, headDim int) (*Rotary, error) {
	inv, scale, err := r.InvFreq(headDim)
	if err != nil {
		return nil, err
	}
	beyond, _, err := r.InvFreqAt(headDim, 2*r.OriginalMaxPositionEmbeddings)
	if err != nil {
		return nil, err
	}
	out := &Rotary{InvFreq: inv, Scale: scale}
	if !slices.Equal(inv, beyond) {
		out.Limit = r.OriginalMaxPositionEmbeddings
	}
	return out, nil
}

// None says whether nothing is turned (NoPE).
func (r *Rotary) None() bool { return len(r.InvFreq) == 0 }

// At returns the cosines and sines of positions [n,m].
func (r *Rotary) At(pos []int) (cos, sin []float32) {
	n := len(pos) * len(r.InvFreq)
	cos, sin = make([]float32, n), make([]float32, n)
	kernels.RopeTables(cos, sin, pos, r.InvFreq, r.Scale)
	return cos, sin
}

// Range returns the tables of positions [from,to). Those of low positions are
// kept and shared: they must not be written to.
func (r *Rotary) Range(from, to int) (cos, sin []float32) {
	if to > keptPositions {
		return r.At(positions(from, to))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := len(r.InvFreq)
	if to*m > len(r.cos) {
		r.cos, r.sin = r.At(positions(0, to+to/2))
	}
	return r.cos[from*m : to*m], r.sin[from*m : to*m]
}

// keptPositions is more than a block's capacity, and small beside any model.
const keptPositions = 1 << 14

func positions(from, to int) []int {
	pos := make([]int, to-from)
	for i := range pos {
		pos[i] = from + i
	}
	return pos
}

// ErrOutOfReach is wrapped by the error of a position that a base's rotary embedding does not
// reach.
var ErrOutOfReach = errors.New("out of reach")

// check reports a sequence whose positions reach the limit.
func (r *Rotary) check(positions int) error {
	if r.Limit == 0 || positions <= r.Limit {
		return nil
	}
	return fmt.Errorf("position %d is %w: the base's rotary embedding has other frequencies, or its queries another scale, for sequences of more than %d tokens; use positions: compact and a block whose sink + slots + window + segment is at most that", positions-1, ErrOutOfReach, r.Limit)
}

// RotateRows writes the rows of x [rows,heads·d] after rotary embedding; cos
// and sin [rows,m] are their tables. inverse turns back, which is the gradient
// too. dst may be x.
func RotateRows(dst, x []float32, rows, heads, d int, cos, sin []float32, inverse bool) {
	w, m := heads*d, len(cos)/max(rows, 1)
	kernels.Parallel(rows, 32, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			kernels.Rotate(dst[t*w:(t+1)*w], x[t*w:(t+1)*w], heads, d, cos[t*m:(t+1)*m], sin[t*m:(t+1)*m], inverse)
		}
	})
}

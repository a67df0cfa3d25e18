package export

import (
	"math"

	"eisft/export/manifest"
	"eisft/quant"
)

// Graphs and Go model compute the same sums in another order. In float graphs that is all
// there is between their logits. In quantized graphs a number near the edge between two
// codes then falls to the other side, which moves everything after it, through the cache
// of 8 bits noticeably. How much this changes follows from the Go model alone: a twin of
// it gets noise of the size of float32's rounding errors before every rounding, and what
// lies between the two is what may lie between the Go model and the graphs, mean and
// maximum. Scales and codes themselves are compared bit by bit (check.Quantized).
//
// Measured in w8a16 over six blocks on the demo base and 119 random models of two layers,
// with the blocks and families of export.TestRandomCombinations: on the demo base, graphs
// and Go model differ by 0.83 to 0.94 (mean) and 1.06 to 1.49 (maximum) of what the twin
// does. On the small models, where codes flip rarely, it was more than twice as much in
// three, where one flipped in the graphs and none in the twin: by up to 0.0026 of the
// largest logit (mean 0.00016).
const twinFactor = 2

// shares are parts of the largest logit.
type shares struct{ max, mean float64 }

var (
	// floatShares bound what float graphs differ by. Measured: on the demo base 1.7e-6
	// (mean 1.3e-7), on the small models at most 2.3e-5 (1.6e-6).
	floatShares = shares{1e-4, 1e-5}
	// quantizedShares come on top of what the twin differs by.
	quantizedShares = shares{1e-2, 3e-4}
)

func (s shares) of(logit float64) manifest.Tolerance {
	return manifest.Tolerance{Max: s.max * logit, Mean: s.mean * logit}
}

// What the twin's numbers are off by at most, as a share of the largest number beside them:
// four times float32's rounding error of one operation. Of 8-bit activations so few fall to
// the other side for that, and each moves so much, that on small models either of graphs
// and twin often has some where the other has none: of 24 random models in w8a8, 11 failed.
// Sixteen times the noise moves a code in nearly all twins; then all passed, at most 0.84 of
// the tolerance away, and 11 of them with not one code that differed.
const (
	noise       = 0x1p-22
	coarseNoise = 0x1p-18
)

// disturbance returns what adds noise to numbers before they are rounded as a scheme says.
func disturbance(s quant.Scheme) func(x []float32) {
	if s.Activation.Bits == 8 {
		return func(x []float32) { disturb(x, coarseNoise) }
	}
	return func(x []float32) { disturb(x, noise) }
}

// disturb adds noise to x. It depends on nothing but x, so that the twin is the same
// whatever cores compute it.
func disturb(x []float32, noise float32) {
	most := float32(0)
	for _, v := range x {
		most = max(most, v, -v)
	}
	for i, v := range x {
		// The finalizer of MurmurHash3 spreads the bits of number and place.
		h := math.Float32bits(v) ^ uint32(i)*0x9e3779b9
		h = (h ^ h>>16) * 0x85ebca6b
		h = (h ^ h>>13) * 0xc2b2ae35
		h ^= h >> 16
		x[i] += noise * most * (float32(h)/(1<<31) - 1)
	}
}

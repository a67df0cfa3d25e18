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
// Measured in w8a16-mixed over six blocks on the demo base and 119 random models of two layers,
// with the blocks and families of export.TestRandomCombinations: on the demo base, graphs
// and Go model differ by 0.83 to 0.94 (mean) and 1.06 to 1.49 (maximum) of what the twin
// does. On the small models, where codes flip rarely, it was more than twice as much in
// three, where one flipped in the graphs and none in the twin: by up to 0.0026 of the
// largest logit (mean 0.00016).
const twinFactor = 2

// shares are parts of the largest logit.
type shares struct{ max, mean float64 }

// floatShares bound what float graphs differ by. Measured: on the demo base 1.7e-6
// (mean 1.3e-7), on the small models at most 2.3e-5 (1.6e-6).
var floatShares = shares{1e-4, 1e-5}

// halfShares bound what float16 graphs differ by.
var halfShares = shares{3e-2, 3e-3}

// slack is what a comparison of quantized graphs allows for rounding errors.
type slack struct {
	// noise is what the twin's numbers are off by at most, as a share of themselves or, where
	// they are smaller, of the root mean square beside them: 2^-24 is float32's rounding
	// error of one operation.
	noise float32
	// Beside twice what the twin differs by: of logits, and the share of the first segment's
	// stored codes.
	shares
	codes float64
}

// slackOf is the slack of a scheme. Of 8-bit activations few codes fall to the other side for
// rounding errors, and each that does moves much: on small models either of graphs and twin
// often has some where the other has none. Measured on 24 random models of two layers with
// integer attention (export.TestRandomIntegerAttention runs twelve of them): in w8a16 not one of the first
// segment's stored codes differed; in w8a8 11 models had no difference at all, and in the
// others graphs were off by up to 0.12 of the largest logit (mean 0.007) and in 9.4 % of the
// codes, since one code changes a whole row of the next layer. On the demo base, 2.8 % of
// these codes differed in w8a16 and 2.9 % of the twin's, 2.7 and 20 % in w8a8; the mean
// difference of logits was 0.96 of the twin's in w8a16 and 0.58 in w8a8.
func slackOf(s quant.Scheme) slack {
	if s.Activation.Bits == 8 {
		return slack{0x1p-24, shares{0.2, 1e-2}, 0.15}
	}
	return slack{0x1p-22, shares{1e-2, 1e-3}, 0.03}
}

func (s shares) of(logit float64) manifest.Tolerance {
	return manifest.Tolerance{Max: s.max * logit, Mean: s.mean * logit}
}

// disturbance returns what adds noise to numbers before they are rounded as a scheme says. It
// depends on nothing but the numbers, so that the twin is the same whatever cores compute it.
func disturbance(s quant.Scheme) func(x []float32) {
	noise := slackOf(s).noise
	return func(x []float32) { disturb(x, noise) }
}

func disturb(x []float32, noise float32) {
	square := 0.0
	for _, v := range x {
		square += float64(v) * float64(v)
	}
	size := float32(math.Sqrt(square / float64(len(x))))
	for i, v := range x {
		// The finalizer of MurmurHash3 spreads the bits of number and place.
		h := math.Float32bits(v) ^ uint32(i)*0x9e3779b9
		h = (h ^ h>>16) * 0x85ebca6b
		h = (h ^ h>>13) * 0xc2b2ae35
		h ^= h >> 16
		x[i] += noise * max(size, v, -v) * (float32(h)/(1<<31) - 1)
	}
}

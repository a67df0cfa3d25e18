package eval

import (
	"math"

	"eisft/model"
)

// pyramidKV is SnapKV with more tokens in the lower layers (PyramidKV, Cai et al., arXiv
// 2406.02069): with m slots a layer on average, the last of n layers has m/β, the
// first 2m - m/β, and those between lie on a line. The observation window has 8 queries, and of
// 7 neighbours the largest counts, as in the authors' code. In a stream this is as in snapKV.
// The authors' code cuts the number of a layer to a whole step; here all add up to the budget.
var pyramidKV = evicting(PolicyPyramidKV, "as snapkv, with more slots in the lower layers (PyramidKV)", pyramid, func(*model.Model) model.Eviction {
	return snap{window: 8, kernel: 7, largest: true}.eviction()
})

// pyramidBeta is β, how much steeper than flat the pyramid is.
const pyramidBeta = 20

// pyramid divides slots among layers.
func pyramid(slots, layers int) []int {
	mean := float64(slots) / float64(layers)
	last := mean / pyramidBeta
	first := 2*mean - last
	out, given, sum := make([]int, layers), 0, 0.0
	for i := range out {
		sum += first
		if layers > 1 {
			sum -= float64(i) * (first - last) / float64(layers-1)
		}
		out[i] = int(math.Round(sum)) - given
		given += out[i]
	}
	out[layers-1] += slots - given // of one layer
	return out
}

package quant

import (
	"math"

	"eisft/quant/encoding"
)

// RangeMSE is where rounding and clipping together do the least harm.
const RangeMSE Range = "mse"

// leastSquares tries bounds from the largest magnitude down to a hundredth of
// it and returns the one with the least squared error.
func (o *Observer) leastSquares(f encoding.Format) float32 {
	best, least := o.MaxAbs(), math.Inf(1)
	for i := range 100 {
		bound := o.MaxAbs() * float32(100-i) / 100
		if _, noise := o.noise(o.within(f, bound)); noise < least {
			best, least = bound, noise
		}
	}
	return best
}

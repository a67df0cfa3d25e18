package lower

import (
	"math"

	"eisft/export/ir"
)

// RMSNorm is what LiteRT's delegates call a root-mean-square norm of a value and its weight.
const RMSNorm = "odml.rms_norm"

const (
	// unitPeak is what a standardized element is at most: its square, and the sum of the
	// squares of a row, stay below 6e4.
	unitPeak = 240
	// leastUnit is what is added to a row's unit, so that a row of zeros has one; it is a
	// normal number in float16.
	leastUnit = 0x1p-13
)

// standardize is x/√(mean(x²)+ε) over the last axis, worded so that no number leaves
// float16 whatever x is: the square of a residual of 265 does, and an ε of 1e-6 is hardly
// there. Each row is first divided by a unit of its own, b = c·mean|x| + 2⁻¹³, which also
// divides √ε, so that for u = x/b the result is u/√(mean(u²)+(√ε/b)²), the same number
// for any b. With c = D/240, and 1 where this is less, no |u| is above 240, since
// |x| ≤ D·mean|x|; and where (√ε/b)² vanishes, it is nothing beside mean(u²) ≥ 1/c².
func (b *builder) standardize(x *ir.Value, eps float32) *ir.Value {
	magnitude := b.Max(x, b.Mul(x, b.Scalar(-1)))
	unit := b.ReduceMean(magnitude, -1)
	if c := float32(x.Dim(-1)) / unitPeak; c > 1 {
		unit = b.Mul(unit, b.Scalar(c))
	}
	unit = b.Add(unit, b.Scalar(leastUnit))
	u := b.Div(x, unit)
	root := b.Div(b.Scalar(float32(math.Sqrt(float64(eps)))), unit)
	mean := b.Add(b.ReduceMean(b.Mul(u, u), -1), b.Mul(root, root))
	return b.Div(u, b.Sqrt(mean))
}

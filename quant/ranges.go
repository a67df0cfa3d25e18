package quant

import (
	"eisft/internal/enum"
	"eisft/quant/encoding"
)

// Range is a rule that chooses the largest magnitude an activation's encoding
// represents; what lies beyond is clipped.
type Range string

// RangeMinMax takes all that was seen.
const RangeMinMax Range = "minmax"

// ranges are all rules. Those with more to them than a line stand in a file of their own.
var ranges = enum.NewTable[Range, func(o *Observer, f encoding.Format) float32]("range").
	With(RangeMinMax, func(o *Observer, _ encoding.Format) float32 { return o.MaxAbs() }).
	With(RangeMSE, (*Observer).leastSquares).
	With(RangePercentile, func(o *Observer, _ encoding.Format) float32 { return o.percentile(0.99999) }).
	With(RangeEntropy, (*Observer).leastDivergence)

// RangeNames lists the ranges.
func RangeNames() []Range { return ranges.Names() }

// ParseRange returns the range of that name.
func ParseRange(name string) (Range, error) {
	_, err := ranges.Find(Range(name))
	return Range(name), err
}

// encode chooses the encoding of what was observed.
func (r Range) encode(o *Observer, f encoding.Format) encoding.Encoding {
	return o.within(f, ranges.Get(r)(o, f))
}

// within returns the encoding of what was observed up to a magnitude.
func (o *Observer) within(f encoding.Format, bound float32) encoding.Encoding {
	if !f.ZeroPoint {
		return f.Tensor(-bound, bound)
	}
	return f.Tensor(max(o.Min, -bound), min(o.Max, bound))
}

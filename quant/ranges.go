package quant

import "eisft/internal/enum"

// Range is a rule that chooses the largest magnitude an activation's encoding
// represents; what lies beyond is clipped.
type Range string

// RangeMinMax takes all that was seen.
const RangeMinMax Range = "minmax"

// ranges are all rules. Those with more to them than a line stand in a file of their own.
var ranges = enum.NewTable[Range, func(o *Observer, bits int) float32]("range").
	With(RangeMinMax, func(o *Observer, _ int) float32 { return o.MaxAbs() }).
	With(RangeMSE, (*Observer).leastSquares).
	With(RangePercentile, func(o *Observer, _ int) float32 { return o.percentile(0.99999) })

// RangeNames lists the ranges.
func RangeNames() []Range { return ranges.Names() }

// ParseRange returns the range of that name.
func ParseRange(name string) (Range, error) {
	_, err := ranges.Find(Range(name))
	return Range(name), err
}

// encode chooses the encoding of what was observed.
func (r Range) encode(o *Observer, bits int) Encoding { return symmetric(bits, ranges.Get(r)(o, bits)) }

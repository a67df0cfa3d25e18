package quant

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"eisft/quant/encoding"
)

// Range is a rule that chooses the largest magnitude an activation's encoding
// represents; what lies beyond is clipped.
type Range string

// The ranges.
const (
	RangeMinMax     Range = "minmax"     // all that was seen
	RangePercentile Range = "percentile" // all but one in a hundred thousand
	RangeMSE        Range = "mse"        // where rounding and clipping together do the least harm
)

var ranges = map[Range]func(o *Observer, f encoding.Format) float32{
	RangeMinMax:     func(o *Observer, _ encoding.Format) float32 { return o.MaxAbs() },
	RangePercentile: func(o *Observer, _ encoding.Format) float32 { return o.percentile(0.99999) },
	RangeMSE:        (*Observer).leastSquares,
}

// RangeNames lists the ranges in alphabetical order.
func RangeNames() []string {
	var names []string
	for _, r := range slices.Sorted(maps.Keys(ranges)) {
		names = append(names, string(r))
	}
	return names
}

// ParseRange returns the range of that name.
func ParseRange(name string) (Range, error) {
	if _, ok := ranges[Range(name)]; !ok {
		return "", fmt.Errorf("range %q is not known; choose one of %s", name, strings.Join(RangeNames(), ", "))
	}
	return Range(name), nil
}

// encode chooses the encoding of what was observed.
func (r Range) encode(o *Observer, f encoding.Format) encoding.Encoding {
	return o.within(f, ranges[r](o, f))
}

// within returns the encoding of what was observed up to a magnitude.
func (o *Observer) within(f encoding.Format, bound float32) encoding.Encoding {
	if !f.ZeroPoint {
		return f.Tensor(-bound, bound)
	}
	return f.Tensor(max(o.Min, -bound), min(o.Max, bound))
}

// percentile returns a magnitude that at least the given share does not exceed.
func (o *Observer) percentile(share float64) float32 {
	want, n := uint64(math.Ceil(share*float64(o.Count))), uint64(0)
	for b := range o.bins() {
		if n += b.n; n >= want {
			return float32(b.hi)
		}
	}
	return o.MaxAbs()
}

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

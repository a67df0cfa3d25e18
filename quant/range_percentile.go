package quant

import "math"

// RangePercentile takes all but one in a hundred thousand.
const RangePercentile Range = "percentile"

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

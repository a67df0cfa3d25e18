package quant

import (
	"math"

	"eisft/quant/encoding"
)

// RangeEntropy is where the histogram of the codes says most of that of the values: the
// Kullback-Leibler divergence between both is least (Migacz, "8-bit inference with
// TensorRT", GTC 2017; what no code stands for counts as ONNX Runtime's calibrator has it).
// Codes of 16 bits are finer than any histogram: nothing is clipped.
const RangeEntropy Range = "entropy"

// entropyBins is how many bins of the same width the magnitudes are counted in.
const entropyBins = 2048

// leastDivergence tries bounds at the edges of bins, from as many bins as there are codes
// for magnitudes, and returns the widest of those with the least divergence.
func (o *Observer) leastDivergence(f encoding.Format) float32 {
	codes := 1 << (f.Bits - 1)
	if o.MaxAbs() == 0 || codes >= entropyBins {
		return o.MaxAbs()
	}
	h := o.linear()
	h[0] = h[1] // zeros are exact under any scale, and would hide all else
	beyond := 0.0
	for _, n := range h[codes:] {
		beyond += n
	}
	inside := 0.0
	for _, n := range h[:codes] {
		inside += n
	}
	best, least := entropyBins, math.Inf(1)
	for i := codes; i <= entropyBins; i++ {
		if d := divergence(h[:i], beyond, inside+beyond, codes); d <= least {
			best, least = i, d
		}
		if i < entropyBins {
			beyond, inside = beyond-h[i], inside+h[i]
		}
	}
	return o.MaxAbs() * float32(best) / entropyBins
}

// nothing is the count of a bin that no code stands for, in place of 0, which would make
// every divergence infinite.
const nothing = 1e-4

// divergence is that of what codes keep of counts from these, the clipped ones added to the
// last; total is the sum of all.
func divergence(counts []float64, clipped, total float64, codes int) float64 {
	sums := make([]float64, codes)
	filled := make([]int, codes)
	kept := 0.0
	code := func(i int) int { return i * codes / len(counts) }
	for i, n := range counts {
		if n > 0 {
			sums[code(i)] += n
			filled[code(i)]++
			kept += n
		}
	}
	if kept == 0 {
		return math.Inf(1)
	}
	d := 0.0
	for i, n := range counts {
		p := n
		if i == len(counts)-1 {
			p += clipped
		}
		if p == 0 {
			continue
		}
		q := nothing
		if n > 0 {
			q = sums[code(i)] / float64(filled[code(i)])
		}
		d += p / total * math.Log(p*kept/(total*q))
	}
	return d
}

// linear counts magnitudes in bins of the same width, the last of which ends at the largest
// magnitude. What a bin of the observer holds is spread evenly.
func (o *Observer) linear() []float64 {
	h := make([]float64, entropyBins)
	scale := entropyBins / float64(o.MaxAbs())
	for b := range o.bins() {
		lo, hi := b.lo*scale, min(b.hi*scale, entropyBins)
		first, last := min(int(lo), entropyBins-1), min(int(math.Ceil(hi))-1, entropyBins-1)
		if last <= first {
			h[first] += float64(b.n)
			continue
		}
		for i := first; i <= last; i++ {
			share := (min(hi, float64(i+1)) - max(lo, float64(i))) / (hi - lo)
			h[i] += share * float64(b.n)
		}
	}
	return h
}

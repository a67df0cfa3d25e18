package quant

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"eisft/quant/encoding"
)

var int8Format = encoding.Format{Bits: 8}

func TestObserverRange(t *testing.T) {
	o := &Observer{}
	o.Observe(nil)
	o.Observe([]float32{2, 3})
	o.Observe([]float32{-7, 0, 1e-40})
	if o.Min != -7 || o.Max != 3 || o.MaxAbs() != 7 || o.Count != 5 || !o.finite() {
		t.Errorf("%g to %g, largest %g, %d values", o.Min, o.Max, o.MaxAbs(), o.Count)
	}
	n := uint64(0)
	for b := range o.bins() {
		n += b.n
		if b.lo > b.mid || b.mid > b.hi || b.hi > 7 {
			t.Errorf("bin %+v", b)
		}
	}
	if n != o.Count {
		t.Errorf("bins hold %d values of %d", n, o.Count)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		o := &Observer{}
		o.Observe([]float32{1, float32(bad)})
		if o.finite() {
			t.Errorf("%g was taken for a number", bad)
		}
	}
}

// TestObserverOrder: what is seen counts, not in which order or pieces.
func TestObserverOrder(t *testing.T) {
	x := normal(1000, 5)
	var whole, pieces Observer
	whole.Observe(x)
	pieces.Observe(x[500:])
	pieces.Observe(x[:500])
	for _, r := range ranges.Names() {
		if a, b := r.encode(&whole, int8Format), r.encode(&pieces, int8Format); !a.Equal(b) {
			t.Errorf("%s: %+v and %+v", r, a, b)
		}
	}
}

func TestRanges(t *testing.T) {
	outlier := append(normal(1_000_000, 1), 100)
	for _, tc := range []struct {
		name     string
		r        Range
		bits     int
		x        []float32
		from, to float64 // the bound
	}{
		{"all", RangeMinMax, 8, []float32{-3, 2}, 3, 3},
		{"outlier is kept", RangeMinMax, 8, outlier, 100, 100},
		// 10 of a million normal values lie beyond 4.4 deviations
		{"outlier is cut", RangePercentile, 8, outlier, 4.2, 4.7},
		{"few values", RangePercentile, 8, []float32{-3, 2}, 3, 3},
		// 8 bits, normal values: least squares near 4 deviations (LSQ, ACIQ: 3.9)
		{"least squares", RangeMSE, 8, normal(1_000_000, 1), 3.6, 4.3},
		{"16 bits clip little", RangeMSE, 16, normal(100_000, 1), 4, 6},
		{"zeros", RangeMSE, 8, []float32{0, 0}, 127, 127}, // scale 1
		// 8 bits, normal values: the least divergence clips less than the least squares
		{"least divergence", RangeEntropy, 8, normal(1_000_000, 1), 4.3, 5.2},
		{"least divergence cuts an outlier", RangeEntropy, 8, outlier, 4.3, 7},
		{"16 bits are finer than the histogram", RangeEntropy, 16, outlier, 100, 100},
		{"zeros", RangeEntropy, 8, []float32{0, 0}, 127, 127},
		{"zeros", RangePercentile, 8, []float32{0, 0}, 127, 127},
	} {
		t.Run(string(tc.r)+" "+tc.name, func(t *testing.T) {
			o := &Observer{}
			o.Observe(tc.x)
			if _, got := tc.r.encode(o, encoding.Format{Bits: tc.bits}).Reach(0); got < tc.from*(1-1e-6) || got > tc.to*(1+1e-6) {
				t.Errorf("bound %g, want %g to %g", got, tc.from, tc.to)
			}
		})
	}
}

func TestClipRate(t *testing.T) {
	o := &Observer{}
	o.Observe([]float32{0.5, 1, -1, 2, -4, 1, 1, 1})
	for _, tc := range []struct {
		bound float32
		want  float64
	}{{4, 0}, {2, 0.125}, {1, 0.25}, {0.9, 0.875}} {
		if got := o.clipped(int8Format.Tensor(-tc.bound, tc.bound)); got != tc.want {
			t.Errorf("bound %g: clip rate %g, want %g", tc.bound, got, tc.want)
		}
	}
	// the largest value never counts as clipped by its own range
	for _, v := range normal(1000, 3) {
		o := &Observer{}
		o.Observe([]float32{v})
		for _, bits := range []int{8, 16} {
			if o.clipped(RangeMinMax.encode(o, encoding.Format{Bits: bits})) != 0 {
				t.Fatalf("%g is clipped at %d bits", v, bits)
			}
		}
	}
}

func TestNames(t *testing.T) {
	if _, err := ParseScheme("w8a61"); err == nil || !strings.HasPrefix(err.Error(), `scheme is "w8a61"; did you mean "w8a16"? It must be one of w8a16, `) {
		t.Errorf("error %v", err)
	}
	if _, err := ParseRange("max"); err == nil || err.Error() != `range is "max"; it must be one of minmax, mse, percentile, entropy` {
		t.Errorf("error %v", err)
	}
}

func BenchmarkObserve(b *testing.B) {
	x := normal(256*768, 1)
	o := &Observer{}
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		o.Observe(x)
	}
}

// TestZeroPoints: with a zero point an encoding covers what was seen, from the least to
// the greatest number, and a range that clips does so on the side that reaches further.
func TestZeroPoints(t *testing.T) {
	f := encoding.Format{Bits: 8, Unsigned: true, ZeroPoint: true}
	o := &Observer{}
	o.Observe([]float32{-1, 0, 3, 3, 3, 3, 3, 3, 3, 3})
	e := RangeMinMax.encode(o, f)
	if lo, hi := e.Reach(0); math.Abs(lo+1) > 0.01 || math.Abs(hi-3) > 0.01 || o.clipped(e) != 0 {
		t.Errorf("%s reaches from %g to %g, want -1 to 3; it clips %g", e, lo, hi, o.clipped(e))
	}
	narrow := o.within(f, 2)
	if lo, hi := narrow.Reach(0); math.Abs(lo+1) > 0.01 || math.Abs(hi-2) > 0.01 || o.clipped(narrow) != 0.8 {
		t.Errorf("%s reaches from %g to %g, want -1 to 2; it clips %g", narrow, lo, hi, o.clipped(narrow))
	}
	if _, noise := o.noise(e); noise > 0.01 {
		t.Errorf("noise %g of what is within reach", noise)
	}
	if _, noise := o.noise(narrow); math.Abs(noise-8) > 0.3 { // eight numbers that lie 1 beyond it
		t.Errorf("noise %g, want about 8", noise)
	}
	o = &Observer{}
	for _, v := range normal(100_000, 1) {
		o.Observe([]float32{v + 3})
	}
	with, without := RangeMinMax.encode(o, f), RangeMinMax.encode(o, encoding.Format{Bits: 8})
	_, a := o.noise(with)
	_, b := o.noise(without)
	if a >= b {
		t.Errorf("numbers around 3: noise %g with a zero point, %g without", a, b)
	}
}

// BenchmarkRange: choosing the range of one activation from its histogram.
func BenchmarkRange(b *testing.B) {
	o := &Observer{}
	o.Observe(normal(256*768, 1))
	for _, r := range RangeNames() {
		for _, bits := range []int{8, 16} {
			b.Run(fmt.Sprintf("%s/%d", r, bits), func(b *testing.B) {
				for b.Loop() {
					r.encode(o, encoding.Format{Bits: bits})
				}
			})
		}
	}
}

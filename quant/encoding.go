package quant

import (
	"fmt"
	"math"

	"eisft/model/kernels"
)

// Encoding maps codes to numbers: real = Scale·code, with signed codes of Bits
// bits and no zero point.
type Encoding struct {
	Bits  int     `json:"bits"`
	Scale float32 `json:"scale"`
}

// limits returns the least and the greatest code: -32768 and 32767 for 16 bits.
func limits(bits int) (lo, hi int) { return -1 << (bits - 1), 1<<(bits-1) - 1 }

// symmetric returns the encoding whose greatest code stands for bound.
func symmetric(bits int, bound float32) Encoding {
	_, hi := limits(bits)
	return Encoding{Bits: bits, Scale: scaleFor(bound, hi)}
}

// scaleFor returns bound/levels, or 1 where that is no normal number: a tensor
// of zeros has any scale.
func scaleFor(bound float32, levels int) float32 {
	const smallestNormal = 0x1p-126
	if s := bound / float32(levels); s >= smallestNormal {
		return s
	}
	return 1
}

// bound returns the magnitude that the greatest code stands for.
func (e Encoding) bound() float64 {
	_, hi := limits(e.Bits)
	return float64(e.Scale) * float64(hi)
}

// saturates says whether the code nearest to a magnitude does not exist.
func (e Encoding) saturates(magnitude float64) bool {
	return magnitude > e.bound()+float64(e.Scale)/2
}

// Code is ONNX's QuantizeLinear: x/Scale in float32, rounded to the nearest
// whole number, ties to even, and saturated.
func (e Encoding) Code(x float32) int32 {
	lo, hi := limits(e.Bits)
	return int32(nearest(x/e.Scale, float32(lo), float32(hi)))
}

// nearest rounds x to even within whole limits.
func nearest(x, lo, hi float32) float32 {
	if x < lo {
		return lo
	}
	if x > hi {
		return hi
	}
	return float32(math.RoundToEven(float64(x)))
}

// Fake replaces x by ONNX's DequantizeLinear(QuantizeLinear(x)). Doing so again
// changes nothing.
func (e Encoding) Fake(x []float32) {
	l, h := limits(e.Bits)
	lo, hi := float32(l), float32(h)
	kernels.Parallel(len(x), 1<<14, func(from, to int) {
		part := x[from:to]
		for i, v := range part {
			part[i] = e.Scale * nearest(v/e.Scale, lo, hi)
		}
	})
}

// check reports an encoding that no scheme makes.
func (e Encoding) check() error {
	if e.Bits != 8 && e.Bits != 16 {
		return fmt.Errorf("bits is %d; it must be 8 or 16", e.Bits)
	}
	return checkScale(e.Scale)
}

func checkScale(s float32) error {
	if !(s > 0) || math.IsInf(float64(s), 1) {
		return fmt.Errorf("scale is %g; it must be a finite number above 0", s)
	}
	return nil
}

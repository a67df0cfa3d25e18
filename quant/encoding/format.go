package encoding

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"eisft/model/kernels"
)

// Format is how a kind of tensor is encoded, before there are numbers to encode: what a
// scheme says of weights, activations and the cache. The zero value leaves them in float.
type Format struct {
	Bits     int  `json:"bits"`
	Unsigned bool `json:"unsigned,omitempty"`
	// ZeroPoint lets codes cover the range from the least to the greatest number instead
	// of one that is symmetric around zero.
	ZeroPoint bool `json:"zero_point,omitempty"`
	// Block is how many consecutive weights of a row have a scale; 0: the row has one.
	// Activations have one scale a tensor.
	Block int `json:"block,omitempty"`
	// LowPower makes the scales of a row's blocks whole multiples, 1 to 16, of one float
	// scale of the row (low-power blockwise quantization).
	LowPower bool `json:"low_power,omitempty"`
}

// None tells whether the tensors stay in float.
func (f Format) None() bool { return f == Format{} }

// Limits returns the least and the greatest code.
func (f Format) Limits() (lo, hi int32) { return limits(f.Bits, f.Unsigned) }

// Fit returns scale and zero point for numbers from lo to hi: the greatest code stands
// for the larger magnitude or, with a zero point, the codes for the whole range, which
// always holds 0, so that 0 has a code (arXiv 1712.05877, section 2.3). Of 4 signed bits it
// is the magnitude of the least code, -8: a number at the positive end is clipped to 7 of 8
// steps, and all others are rounded in steps that are an eighth smaller.
func (f Format) Fit(lo, hi float32) (scale float32, zero int32) {
	low, high := f.Limits()
	if !f.ZeroPoint {
		return scaleFor(max(hi, -lo), f.Levels()), 0
	}
	lo, hi = min(lo, 0), max(hi, 0)
	scale = scaleFor(hi-lo, float32(high-low))
	return scale, int32(kernels.Nearest(float32(low)-lo/scale, float32(low), float32(high)))
}

// Levels returns what the largest magnitude is divided by for a symmetric scale: the
// greatest code, or 8 for 4 signed bits.
func (f Format) Levels() float32 {
	lo, hi := f.Limits()
	if f.Bits == 4 && !f.Unsigned {
		return float32(-lo)
	}
	return float32(hi)
}

// Tensor returns the encoding of a whole tensor with numbers from lo to hi.
func (f Format) Tensor(lo, hi float32) Encoding {
	scale, zero := f.Fit(lo, hi)
	e := Encoding{Bits: f.Bits, Unsigned: f.Unsigned, Scales: []float32{scale}}
	if f.ZeroPoint {
		e.Zeros = []int32{zero}
	}
	return e
}

// Unit returns the encoding of numbers from 0 to 1: the code after the greatest would stand
// for 1, as NPUs have it for sigmoid and softmax (1/65536 for 16 unsigned bits, 1/32768 for
// signed ones).
func (f Format) Unit() Encoding {
	e := Encoding{Bits: f.Bits, Unsigned: f.Unsigned}
	_, high := e.Limits()
	e.Scales = []float32{1 / float32(high+1)}
	return e
}

// Rows returns the encoding of a matrix [rows,cols], each row or block of it by the range
// of its own numbers. It fails on a row with NaN or infinity, and where blocks do not
// divide the rows.
func (f Format) Rows(x []float32, rows, cols int) (Encoding, error) {
	e := Encoding{Bits: f.Bits, Unsigned: f.Unsigned, Axis: 0}
	length := cols
	if err := f.CheckRows(cols); err != nil {
		return e, err
	}
	if f.Block > 0 {
		e.Axis, e.Block, length = 1, f.Block, f.Block
	}
	for at := 0; at < rows*cols; at += length {
		lo, hi := span(x[at : at+length])
		if d := float64(hi) - float64(lo); math.IsNaN(d) || math.IsInf(d, 0) {
			return e, fmt.Errorf("row %d holds NaN or infinity; the checkpoint is damaged", at/cols)
		}
		scale, zero := f.Fit(lo, hi)
		e.Scales = append(e.Scales, scale)
		if f.ZeroPoint {
			e.Zeros = append(e.Zeros, zero)
		}
	}
	if f.LowPower {
		return e.WholeMultiples(rows, x), nil
	}
	return e, nil
}

// CheckRows reports blocks that a row of so many weights cannot be cut into, and which it
// can.
func (f Format) CheckRows(cols int) error {
	switch {
	case f.LowPower && (f.Block == 0 || f.ZeroPoint || f.Unsigned):
		return fmt.Errorf("%s: low-power blockwise scales are for blocks of signed symmetric codes", f)
	case f.Block == 0 || f.Block > 0 && cols%f.Block == 0:
		return nil
	}
	var fit []string
	for b := 8; b <= min(cols, 512); b++ {
		if cols%b == 0 {
			fit = append(fit, strconv.Itoa(b))
		}
	}
	if len(fit) == 0 {
		return fmt.Errorf("rows of %d weights cannot be cut into blocks of %d, nor into any of 8 to 512; take a scheme with one scale a row", cols, f.Block)
	}
	return fmt.Errorf("rows of %d weights cannot be cut into blocks of %d; blocks of these sizes fit: %s", cols, f.Block, strings.Join(fit, ", "))
}

// span returns the least and the greatest number, NaN if there is one.
func span(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

// scaleFor returns width/levels, or 1 where that is no normal number: a tensor of zeros
// has any scale.
func scaleFor(width, levels float32) float32 {
	const smallestNormal = 0x1p-126
	if s := width / levels; s >= smallestNormal {
		return s
	}
	return 1
}

// String describes the format: "int8", "uint16 with a zero point", "int4 in blocks of 32".
func (f Format) String() string {
	if f.None() {
		return "float"
	}
	s := Encoding{Bits: f.Bits, Unsigned: f.Unsigned}.Type()
	if f.ZeroPoint {
		s += " with a zero point"
	}
	if f.Block > 0 {
		s += fmt.Sprintf(" in blocks of %d", f.Block)
	}
	if f.LowPower {
		s += " with low-power scales"
	}
	return s
}

// Package encoding says what the codes of a quantized tensor stand for. It is the one
// place where numbers become codes and codes become numbers: calibration, fake
// quantization, exported graphs, their manifest and their check all use it.
package encoding

import (
	"fmt"
	"math"
	"slices"

	"eisft/model/kernels"
)

// Encoding maps codes to numbers: real = scale·(code − zero), as ONNX's
// DequantizeLinear does.
//
// One scale serves the whole tensor. Several serve the slices along Axis or, with
// Block > 0, blocks of Block elements along Axis; these have the tensor's shape with
// Axis divided by Block, row-major. Zeros is empty (symmetric) or as long as Scales.
//
// Low-power blockwise encodings (LPBQ) are those of a matrix with Channels: a scale for
// each slice along the axis that has no blocks, of which the scale of each of its blocks is
// a whole multiple, 1 to [MaxMultiple].
type Encoding struct {
	Bits     int  // of a code: 4, 8 or 16
	Unsigned bool // codes are 0 to 2^Bits-1 instead of two's complement
	Scales   []float32
	Zeros    []int32
	Axis     int
	Block    int
	Channels []float32
}

// Signed is the symmetric encoding of a whole tensor by signed codes.
func Signed(bits int, scale float32) Encoding {
	return Encoding{Bits: bits, Scales: []float32{scale}}
}

// Limits returns the least and the greatest code: -32768 and 32767 for 16 signed bits.
func (e Encoding) Limits() (lo, hi int32) { return limits(e.Bits, e.Unsigned) }

func limits(bits int, unsigned bool) (lo, hi int32) {
	if unsigned {
		return 0, 1<<bits - 1
	}
	return -1 << (bits - 1), 1<<(bits-1) - 1
}

// Type names the type of the codes as ONNX and manifests do: int8, uint16.
func (e Encoding) Type() string {
	if e.Unsigned {
		return fmt.Sprintf("uint%d", e.Bits)
	}
	return fmt.Sprintf("int%d", e.Bits)
}

// Zero returns the code of the number 0 where scale i applies.
func (e Encoding) Zero(i int) int32 {
	if len(e.Zeros) == 0 {
		return 0
	}
	return e.Zeros[i]
}

// Symmetric tells whether code 0 stands for 0 everywhere.
func (e Encoding) Symmetric() bool {
	return !slices.ContainsFunc(e.Zeros, func(z int32) bool { return z != 0 })
}

// Reach returns the numbers between which scale i rounds to the nearest code. That of a
// signed symmetric encoding of 8 or 16 bits ends at the greatest code on both sides: one
// code more on the negative side, which no scheme counts on, is left out. Of 4 bits it is a
// sixteenth of all, and scales are chosen for it (see [Format.Fit]).
func (e Encoding) Reach(i int) (lo, hi float64) {
	low, high := e.Limits()
	scale, zero := float64(e.Scales[i]), e.Zero(i)
	if !e.Unsigned && zero == 0 && e.Bits > 4 {
		low = -high
	}
	return scale * float64(low-zero), scale * float64(high-zero)
}

// Saturates says whether the code nearest to x under scale i does not exist.
func (e Encoding) Saturates(x float64, i int) bool {
	lo, hi := e.Reach(i)
	half := float64(e.Scales[i]) / 2
	return x < lo-half || x > hi+half
}

// steps returns the limits of code − zero where scale i applies.
func (e Encoding) steps(i int) (lo, hi float32) {
	low, high := e.Limits()
	return float32(low - e.Zero(i)), float32(high - e.Zero(i))
}

// Code is ONNX's QuantizeLinear where scale i applies: x/scale in float32, rounded to the
// nearest whole number, ties to even, plus the zero point, and saturated.
func (e Encoding) Code(x float32, i int) int32 {
	lo, hi := e.steps(i)
	return int32(kernels.Nearest(x/e.Scales[i], lo, hi)) + e.Zero(i)
}

// Fake replaces x, a tensor of the given shape, by ONNX's
// DequantizeLinear(QuantizeLinear(x)). Doing so again changes nothing. Where one scale
// serves the whole tensor its shape does not matter.
func (e Encoding) Fake(x []float32, shape ...int) {
	e.each(len(x), shape, func(from, to, i int) {
		lo, hi := e.steps(i)
		kernels.Fake(x[from:to], e.Scales[i], lo, hi)
	})
}

// Codable are the types that can hold codes.
type Codable interface {
	~int8 | ~uint8 | ~int16 | ~uint16 | ~int32
}

// Codes writes the codes of x, a tensor of the given shape, to codes.
func Codes[T Codable](e Encoding, codes []T, x []float32, shape ...int) {
	e.each(len(x), shape, func(from, to, i int) {
		for j := from; j < to; j++ {
			codes[j] = T(e.Code(x[j], i))
		}
	})
}

// Dequantize writes the numbers that codes stand for, a tensor of the given shape, to x.
func Dequantize[T Codable](e Encoding, x []float32, codes []T, shape ...int) {
	e.each(len(codes), shape, func(from, to, i int) {
		scale, zero := e.Scales[i], e.Zero(i)
		for j := from; j < to; j++ {
			x[j] = scale * float32(int32(codes[j])-zero)
		}
	})
}

// Index returns the scale of each stretch of elements that have one, for n elements of a
// tensor of the given shape, which the encoding fits: stretches have the given length and
// follow each other.
func (e Encoding) Index(n int, shape ...int) (length int, scale func(stretch int) int) {
	if len(e.Scales) == 1 {
		return n, func(int) int { return 0 }
	}
	size, inner := shape[e.Axis], 1
	for _, s := range shape[e.Axis+1:] {
		inner *= s
	}
	switch {
	case e.Block == 0:
		return inner, func(k int) int { return k % size }
	case inner == 1:
		return e.Block, func(k int) int { return k }
	default: // a stretch is an element
		return 1, func(k int) int {
			slice, at := k/(size*inner), k/inner%size
			return (slice*(size/e.Block)+at/e.Block)*inner + k%inner
		}
	}
}

// grain is the number of elements from which on a core of its own is worth it.
const grain = 1 << 14

// each calls f for stretches of elements with the scale of each, side by side.
func (e Encoding) each(n int, shape []int, f func(from, to, i int)) {
	length, scale := e.Index(n, shape...)
	if len(e.Scales) == 1 {
		kernels.Parallel(n, grain, func(from, to int) { f(from, to, 0) })
		return
	}
	kernels.Parallel(n/length, max(1, grain/length), func(from, to int) {
		for k := from; k < to; k++ {
			f(k*length, (k+1)*length, scale(k))
		}
	})
}

// Equal tells whether two encodings give every code the same meaning, bit by bit.
func (e Encoding) Equal(o Encoding) bool {
	if e.Bits != o.Bits || e.Unsigned != o.Unsigned || len(e.Scales) != len(o.Scales) {
		return false
	}
	for i, s := range e.Scales {
		if s != o.Scales[i] || e.Zero(i) != o.Zero(i) {
			return false
		}
	}
	return slices.Equal(e.Channels, o.Channels) && (len(e.Scales) == 1 || e.Axis == o.Axis && e.Block == o.Block)
}

// Difference says where e departs from what is wanted, "" where it does not.
func (e Encoding) Difference(want Encoding) string {
	switch {
	case e.Equal(want):
		return ""
	case e.Type() != want.Type():
		return fmt.Sprintf("its codes are %s, want %s", e.Type(), want.Type())
	case len(e.Scales) != len(want.Scales):
		return fmt.Sprintf("it has %d scales, want %d", len(e.Scales), len(want.Scales))
	case len(e.Channels) != len(want.Channels):
		return fmt.Sprintf("it has %d channel scales, want %d", len(e.Channels), len(want.Channels))
	}
	for i, c := range e.Channels {
		if c != want.Channels[i] {
			return fmt.Sprintf("channel scale %d is %.9g, want %.9g", i, c, want.Channels[i])
		}
	}
	for i, s := range e.Scales {
		at := ""
		if len(e.Scales) > 1 {
			at = fmt.Sprintf(" %d", i)
		}
		if s != want.Scales[i] {
			return fmt.Sprintf("scale%s is %.9g, want %.9g", at, s, want.Scales[i])
		}
		if e.Zero(i) != want.Zero(i) {
			return fmt.Sprintf("zero point%s is %d, want %d", at, e.Zero(i), want.Zero(i))
		}
	}
	return fmt.Sprintf("its scales serve axis %d in blocks of %d, want axis %d in blocks of %d", e.Axis, e.Block, want.Axis, want.Block)
}

// AsUnsigned gives an encoding of signed codes as that of unsigned ones: every number's code is
// larger by half of all codes.
func (e Encoding) AsUnsigned() Encoding { return e.shifted(true) }

// AsSigned is the other way round.
func (e Encoding) AsSigned() Encoding { return e.shifted(false) }

func (e Encoding) shifted(unsigned bool) Encoding {
	if e.Unsigned == unsigned {
		return e
	}
	by := int32(1) << (e.Bits - 1)
	if !unsigned {
		by = -by
	}
	zeros := make([]int32, len(e.Scales))
	for i := range zeros {
		zeros[i] = e.Zero(i) + by
	}
	e.Unsigned, e.Zeros = unsigned, zeros
	return e
}

// String describes the encoding in a message: its type, first scale and zero point.
func (e Encoding) String() string {
	if len(e.Scales) == 0 {
		return e.Type() + " without a scale"
	}
	s := fmt.Sprintf("%s scale %g", e.Type(), e.Scales[0])
	if e.Zero(0) != 0 {
		s += fmt.Sprintf(" zero point %d", e.Zero(0))
	}
	if len(e.Scales) > 1 {
		s += fmt.Sprintf(" (and %d more)", len(e.Scales)-1)
	}
	return s
}

// Check reports what no tensor can be encoded with.
func (e Encoding) Check() error {
	if e.Bits != 4 && e.Bits != 8 && e.Bits != 16 {
		return fmt.Errorf("bits is %d; it must be 4, 8 or 16", e.Bits)
	}
	if len(e.Scales) == 0 {
		return fmt.Errorf("there is no scale")
	}
	if len(e.Zeros) > 0 && len(e.Zeros) != len(e.Scales) {
		return fmt.Errorf("there are %d zero points for %d scales", len(e.Zeros), len(e.Scales))
	}
	for i, s := range e.Scales {
		if !(s > 0) || math.IsInf(float64(s), 1) {
			return fmt.Errorf("scale %d is %g; it must be a finite number above 0", i, s)
		}
	}
	lo, hi := e.Limits()
	for i, z := range e.Zeros {
		if z < lo || z > hi {
			return fmt.Errorf("zero point %d is %d, outside %s", i, z, e.Type())
		}
	}
	if e.Axis < 0 || e.Block < 0 {
		return fmt.Errorf("axis is %d and block %d; neither may be negative", e.Axis, e.Block)
	}
	return e.checkChannels()
}

// ParamShape checks the encoding against a tensor's shape and gives the shape of its
// scales: none, [size of Axis], or the tensor's own divided into blocks.
func (e Encoding) ParamShape(shape []int) ([]int, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	params := []int{}
	if len(e.Scales) != 1 || e.Block > 0 {
		if e.Axis >= len(shape) {
			return nil, fmt.Errorf("the encoding's axis %d does not exist", e.Axis)
		}
		params = []int{shape[e.Axis]}
	}
	if e.Block > 0 {
		if shape[e.Axis]%e.Block != 0 {
			return nil, fmt.Errorf("axis %d has %d elements, no multiple of the block size %d", e.Axis, shape[e.Axis], e.Block)
		}
		params = slices.Clone(shape)
		params[e.Axis] /= e.Block
	}
	want := 1
	for _, n := range params {
		want *= n
	}
	if len(e.Scales) != want {
		return nil, fmt.Errorf("there are %d scales; %v has %d", len(e.Scales), shape, want)
	}
	if e.LowPower() && (len(shape) != 2 || e.Axis > 1 || len(e.Channels) != shape[1-e.Axis]) {
		return nil, fmt.Errorf("there are %d channel scales for blocks along axis %d of %v; want a matrix, and one for each slice along its other axis", len(e.Channels), e.Axis, shape)
	}
	return params, nil
}

// Transposed returns the encoding of the transpose of a matrix [rows,cols].
func (e Encoding) Transposed(rows, cols int) Encoding {
	if len(e.Scales) == 1 && e.Block == 0 {
		return e
	}
	t := e
	t.Axis = 1 - e.Axis
	if e.Block > 0 {
		shape := []int{rows, cols}
		shape[e.Axis] /= e.Block
		t.Scales = Transpose(e.Scales, shape[0], shape[1])
		if len(e.Zeros) > 0 {
			t.Zeros = Transpose(e.Zeros, shape[0], shape[1])
		}
	}
	return t
}

// Above returns the encoding of a matrix that has e's rows above those of o; both are
// encoded by rows, or by blocks of them, in the same format. e may have no rows yet.
func (e Encoding) Above(o Encoding) Encoding {
	if len(e.Scales) == 0 {
		return o
	}
	e.Scales, e.Zeros, e.Channels = append(e.Scales, o.Scales...), append(e.Zeros, o.Zeros...), append(e.Channels, o.Channels...)
	return e
}

// Part returns the encoding of rows [lo,hi) of a matrix with so many rows that is encoded by
// rows, or by blocks of them.
func (e Encoding) Part(rows, lo, hi int) Encoding {
	e.Scales, e.Zeros, e.Channels = part(e.Scales, rows, lo, hi), part(e.Zeros, rows, lo, hi), part(e.Channels, rows, lo, hi)
	return e
}

// part returns the part of x that belongs to rows [lo,hi).
func part[T any](x []T, rows, lo, hi int) []T {
	n := len(x) / rows
	return x[lo*n : hi*n]
}

// Transpose returns the transpose of x [rows,cols].
func Transpose[T any](x []T, rows, cols int) []T {
	y := make([]T, len(x))
	for r := range rows {
		for c := range cols {
			y[c*rows+r] = x[r*cols+c]
		}
	}
	return y
}

package ir

import (
	"fmt"
	"math"
	"slices"
)

// Encoding maps the codes of a quantized tensor to numbers: real = Scale·(code − Zero).
//
// One scale serves the whole tensor. Several serve the slices along Axis, or, with
// Block > 0, blocks of Block elements along Axis; they then have the tensor's shape
// with Axis divided by Block, row-major. Zero is empty (symmetric) or as long as Scale.
type Encoding struct {
	DType DType
	Scale []float32
	Zero  []int32
	Axis  int
	Block int
}

// Equal tells whether two encodings give every code the same meaning.
func (e Encoding) Equal(o Encoding) bool {
	zero := func(e Encoding) []int32 {
		if len(e.Zero) > 0 {
			return e.Zero
		}
		return make([]int32, len(e.Scale))
	}
	if e.DType != o.DType || !slices.Equal(e.Scale, o.Scale) || !slices.Equal(zero(e), zero(o)) {
		return false
	}
	return len(e.Scale) == 1 || e.Axis == o.Axis && e.Block == o.Block
}

// PerTensor is the encoding of a whole tensor.
func PerTensor(dtype DType, scale float32, zero int32) Encoding {
	return Encoding{DType: dtype, Scale: []float32{scale}, Zero: []int32{zero}}
}

// Quantize is ONNX's QuantizeLinear: saturate(round(x/scale) + zero), ties to even.
func (g *Graph) Quantize(x *Value, e Encoding) *Value {
	if !g.floats("QuantizeLinear", x) {
		return &Value{graph: g}
	}
	return g.linear("QuantizeLinear", x, e, e.DType)
}

// Dequantize is ONNX's DequantizeLinear: float32 scale·(x − zero).
func (g *Graph) Dequantize(x *Value, e Encoding) *Value {
	if !g.usable("DequantizeLinear", x) {
		return &Value{graph: g}
	}
	if x.dtype != e.DType {
		return g.fail("DequantizeLinear of %s: the encoding is for %s", x, e.DType)
	}
	return g.linear("DequantizeLinear", x, e, Float32)
}

// QDQ puts Q and DQ behind x, which gives x the encoding in a quantized graph.
func (g *Graph) QDQ(x *Value, e Encoding) *Value { return g.Dequantize(g.Quantize(x, e), e) }

// linear adds Q or DQ. The zero point is always written: it carries the code type,
// and some converters refuse its absence.
func (g *Graph) linear(op string, x *Value, e Encoding, result DType) *Value {
	if e.Axis < 0 {
		e.Axis += len(x.shape)
	}
	params, err := e.ParamShape(x.shape)
	if err == nil && g.opset < 21 && (e.DType.Bits() != 8 || e.Block > 0) {
		err = fmt.Errorf("%s codes or blocks need opset 21, this graph has %d", e.DType, g.opset)
	}
	if err != nil {
		return g.fail("%s of %s: %w", op, x, err)
	}
	attrs := []attr{}
	if len(params) > 0 {
		attrs = append(attrs, attr{"axis", e.Axis})
	}
	if e.Block > 0 {
		attrs = append(attrs, attr{"block_size", e.Block})
	}
	scale := g.Const(x.name+"/scale", params, e.Scale)
	zero := g.Const(x.name+"/zero_point", params, e.zeroCodes())
	return g.add(op, []*Value{x, scale, zero}, attrs, result, x.shape)
}

// ParamShape checks the encoding against a tensor's shape and gives the shape of
// its scales: none, [size of Axis], or the tensor's own divided into blocks.
func (e Encoding) ParamShape(shape []int) ([]int, error) {
	lo, hi, ok := e.DType.Codes()
	if !ok {
		return nil, fmt.Errorf("%s is no type of codes", e.DType)
	}
	if len(e.Scale) == 0 {
		return nil, fmt.Errorf("there is no scale")
	}
	if len(e.Zero) > 0 && len(e.Zero) != len(e.Scale) {
		return nil, fmt.Errorf("%d zero points for %d scales", len(e.Zero), len(e.Scale))
	}
	for i, s := range e.Scale {
		if !(s > 0) || math.IsInf(float64(s), 0) {
			return nil, fmt.Errorf("scale %d is %g, want a finite number above 0", i, s)
		}
	}
	for i, z := range e.Zero {
		if int64(z) < lo || int64(z) > hi {
			return nil, fmt.Errorf("zero point %d is %d, outside %s", i, z, e.DType)
		}
	}
	params := []int{}
	if len(e.Scale) != 1 || e.Block > 0 {
		if e.Axis < 0 || e.Axis >= len(shape) {
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
	if want, _ := elements(params); int64(len(e.Scale)) != want {
		return nil, fmt.Errorf("%d scales, want %d", len(e.Scale), want)
	}
	return params, nil
}

// zeroCodes gives the zero points in the type of the codes. ParamShape has checked
// that they fit.
func (e Encoding) zeroCodes() any {
	zero := e.Zero
	if len(zero) == 0 {
		zero = make([]int32, len(e.Scale))
	}
	switch e.DType {
	case Int4:
		return Nibbles(convert[int8](zero))
	case UInt4:
		return UNibbles(convert[uint8](zero))
	case Int8:
		return convert[int8](zero)
	case UInt8:
		return convert[uint8](zero)
	case Int16:
		return convert[int16](zero)
	default:
		return convert[uint16](zero)
	}
}

func convert[T int8 | uint8 | int16 | uint16](v []int32) []T {
	out := make([]T, len(v))
	for i, x := range v {
		out[i] = T(x)
	}
	return out
}

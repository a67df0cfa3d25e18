package ir

import (
	"fmt"

	"eisft/quant/encoding"
)

// codeTypes are the types of codes by their names.
var codeTypes = map[string]DType{
	"int4": Int4, "uint4": UInt4, "int8": Int8, "uint8": UInt8, "int16": Int16, "uint16": UInt16,
}

// CodeType is the ONNX type of an encoding's codes, 0 where there is none.
func CodeType(e encoding.Encoding) DType { return codeTypes[e.Type()] }

// Encoding is the encoding that codes of a type have, with the given scales and zero
// points. It is not valid where they are of another type than codes.
func (d DType) Encoding(scales []float32, zeros []int32, axis, block int) encoding.Encoding {
	e := encoding.Encoding{Scales: scales, Zeros: zeros, Axis: axis, Block: block}
	if codeTypes[d.String()] == d {
		e.Bits, e.Unsigned = d.Bits(), !d.Signed()
	}
	return e
}

// PerTensor is the encoding of a whole tensor by codes of a type.
func PerTensor(dtype DType, scale float32, zero int32) encoding.Encoding {
	return dtype.Encoding([]float32{scale}, []int32{zero}, 0, 0)
}

// Quantize is ONNX's QuantizeLinear: saturate(round(x/scale) + zero), ties to even.
func (g *Graph) Quantize(x *Value, e encoding.Encoding) *Value {
	if !g.floats("QuantizeLinear", x) {
		return &Value{graph: g}
	}
	return g.linear("QuantizeLinear", x, e, CodeType(e))
}

// Dequantize is ONNX's DequantizeLinear: float32 scale·(x − zero).
func (g *Graph) Dequantize(x *Value, e encoding.Encoding) *Value {
	if !g.usable("DequantizeLinear", x) {
		return &Value{graph: g}
	}
	if x.dtype != CodeType(e) {
		return g.fail("DequantizeLinear of %s: the encoding is for %s", x, e.Type())
	}
	return g.linear("DequantizeLinear", x, e, Float32)
}

// QDQ puts Q and DQ behind x, which gives x the encoding in a quantized graph.
func (g *Graph) QDQ(x *Value, e encoding.Encoding) *Value { return g.Dequantize(g.Quantize(x, e), e) }

// linear adds Q or DQ. The zero point is always written: it carries the code type,
// and some converters refuse its absence.
func (g *Graph) linear(op string, x *Value, e encoding.Encoding, result DType) *Value {
	params, err := e.ParamShape(x.shape)
	if err == nil && g.opset < 21 && (e.Bits != 8 || e.Block > 0) {
		err = fmt.Errorf("%s codes or blocks need opset 21, this graph has %d", e.Type(), g.opset)
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
	scale := g.Const(x.name+"/scale", params, e.Scales)
	zero := g.Const(x.name+"/zero_point", params, zeroCodes(e))
	y := g.add(op, []*Value{x, scale, zero}, attrs, result, x.shape)
	if y.producer != nil {
		y.producer.point = g.point
	}
	return y
}

// zeroCodes gives the zero points in the type of the codes. ParamShape has checked
// that they fit.
func zeroCodes(e encoding.Encoding) any {
	zeros := make([]int32, len(e.Scales))
	copy(zeros, e.Zeros)
	codes, _ := Codes(e, zeros)
	return codes
}

// Codes gives codes as NewTensor takes them, in the type of an encoding's.
func Codes[T int8 | int32](e encoding.Encoding, codes []T) (any, error) {
	switch CodeType(e) {
	case Int4:
		return Nibbles(convert[int8](codes)), nil
	case UInt4:
		return UNibbles(convert[uint8](codes)), nil
	case Int8:
		return convert[int8](codes), nil
	case UInt8:
		return convert[uint8](codes), nil
	case Int16:
		return convert[int16](codes), nil
	case UInt16:
		return convert[uint16](codes), nil
	}
	return nil, fmt.Errorf("%s is no type of codes", e.Type())
}

func convert[T int8 | uint8 | int16 | uint16, F int8 | int32](v []F) []T {
	if same, ok := any(v).([]T); ok {
		return same
	}
	out := make([]T, len(v))
	for i, x := range v {
		out[i] = T(x)
	}
	return out
}

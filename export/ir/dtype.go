// Package ir builds, writes and reads ONNX graphs of static shape. A Graph infers
// the shape of every value as it is added, refuses what the fixed-shape contract
// does not allow and writes one .onnx file; a Weights file holds the tensors that
// several graphs share. Open reads any ONNX file back for checks and runners.
package ir

import (
	"fmt"
	"math"

	"eisft/export/onnxpb"
)

// DType is an element type, numbered as in ONNX's TensorProto.DataType.
type DType int32

// The element types that fixed-shape graphs use.
const (
	Float32 = DType(onnxpb.TensorProto_FLOAT)
	Float16 = DType(onnxpb.TensorProto_FLOAT16)
	UInt8   = DType(onnxpb.TensorProto_UINT8)
	Int8    = DType(onnxpb.TensorProto_INT8)
	UInt16  = DType(onnxpb.TensorProto_UINT16)
	Int16   = DType(onnxpb.TensorProto_INT16)
	Int32   = DType(onnxpb.TensorProto_INT32)
	Int64   = DType(onnxpb.TensorProto_INT64)
	UInt4   = DType(onnxpb.TensorProto_UINT4)
	Int4    = DType(onnxpb.TensorProto_INT4)
)

type dtypeInfo struct {
	name     string
	bits     int
	min, max int64 // range of the codes of a quantized tensor; 0, 0 for the others
}

var dtypes = map[DType]dtypeInfo{
	Float32: {name: "float32", bits: 32},
	Float16: {name: "float16", bits: 16},
	UInt8:   {name: "uint8", bits: 8, max: math.MaxUint8},
	Int8:    {name: "int8", bits: 8, min: math.MinInt8, max: math.MaxInt8},
	UInt16:  {name: "uint16", bits: 16, max: math.MaxUint16},
	Int16:   {name: "int16", bits: 16, min: math.MinInt16, max: math.MaxInt16},
	Int32:   {name: "int32", bits: 32},
	Int64:   {name: "int64", bits: 64},
	UInt4:   {name: "uint4", bits: 4, max: 15},
	Int4:    {name: "int4", bits: 4, min: -8, max: 7},
}

// String returns the type's name as manifests write it: "float32", "int4".
func (d DType) String() string {
	if info, ok := dtypes[d]; ok {
		return info.name
	}
	return fmt.Sprintf("ONNX data type %d", int32(d))
}

// ParseDType is the inverse of String.
func ParseDType(name string) (DType, error) {
	for d, info := range dtypes {
		if info.name == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("unknown element type %q: want float32, float16, int4, uint4, int8, uint8, int16, uint16, int32 or int64", name)
}

// Bits is the size of an element, 0 for a type outside this package's list.
func (d DType) Bits() int { return dtypes[d].bits }

// Codes returns the range of the codes of a quantized tensor; ok is false for
// types that carry no affine encoding (float32, float16, int32, int64).
func (d DType) Codes() (lo, hi int64, ok bool) {
	info := dtypes[d]
	return info.min, info.max, info.min != info.max
}

// IsFloat tells whether a type's elements are floating point numbers.
func (d DType) IsFloat() bool { return d == Float32 || d == Float16 }

// Signed tells whether a quantized type's codes are signed.
func (d DType) Signed() bool { return dtypes[d].min < 0 }

// bytesFor is the size of n elements as ONNX stores them: 4-bit types pack two to
// a byte. The caller has checked d and n.
func (d DType) bytesFor(n int64) int64 { return (n*int64(d.Bits()) + 7) / 8 }

// Size is the bytes of a constant of that shape.
func (d DType) Size(shape []int) int64 {
	n, _ := elements(shape)
	return d.bytesFor(n)
}

// elements multiplies a shape's sizes. It fails on a negative size and above 2^40
// elements, so that sizes computed from it cannot overflow.
func elements[T int | int64](shape []T) (int64, error) {
	n := int64(1)
	for _, s := range shape {
		switch size := int64(s); {
		case size < 0:
			return 0, fmt.Errorf("shape %v: size %d is negative", shape, size)
		case size != 0 && n > (1<<40)/size:
			return 0, fmt.Errorf("shape %v: more than 2^40 elements", shape)
		default:
			n *= size
		}
	}
	return n, nil
}

package ir

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"
)

// Nibbles are signed 4-bit codes (-8..7), one an element. They are packed when a tensor
// is made of them.
type Nibbles []int8

// UNibbles are unsigned 4-bit codes (0..15), see Nibbles.
type UNibbles []uint8

// Tensor is a constant as ONNX stores it: little-endian elements in row-major
// order, 4-bit types two to a byte with the first element in the low half.
type Tensor struct {
	DType DType
	Shape []int
	Raw   []byte
}

// NewTensor encodes data, a []float32, []float16.Float16, []int8, []uint8, []int16, []uint16,
// []int32, []int64, Nibbles or UNibbles of as many elements as shape has.
func NewTensor(shape []int, data any) (Tensor, error) {
	dtype, n, err := DataType(data)
	if err != nil {
		return Tensor{}, err
	}
	want, err := elements(shape)
	if err != nil {
		return Tensor{}, err
	}
	if int64(n) != want {
		return Tensor{}, fmt.Errorf("%d elements for shape %v, want %d", n, shape, want)
	}
	t := Tensor{DType: dtype, Shape: append([]int(nil), shape...)}
	switch d := data.(type) {
	case Nibbles:
		t.Raw, err = packNibbles(d, -8, 7)
	case UNibbles:
		t.Raw, err = packNibbles(d, 0, 15)
	default:
		t.Raw, err = binary.Append(make([]byte, 0, dtype.bytesFor(want)), binary.LittleEndian, data)
	}
	return t, err
}

// transposedRows is how many rows NewTransposed reads at a time.
const transposedRows = 64

// NewTransposed makes the tensor [cols,rows] of a matrix [rows,cols], of which read gives rows
// [lo,hi). Nothing but the tensor is as large as it.
func NewTransposed(rows, cols int, read func(dst []float32, lo, hi int)) (Tensor, error) {
	shape := []int{cols, rows}
	n, err := elements(shape)
	if err != nil {
		return Tensor{}, err
	}
	t := Tensor{DType: Float32, Shape: shape, Raw: make([]byte, Float32.bytesFor(n))}
	block := make([]float32, min(rows, transposedRows)*cols)
	for lo := 0; lo < rows; lo += transposedRows {
		hi := min(rows, lo+transposedRows)
		read(block[:(hi-lo)*cols], lo, hi)
		for c := range cols {
			to := t.Raw[4*(c*rows+lo):]
			for r := range hi - lo {
				binary.LittleEndian.PutUint32(to[4*r:], math.Float32bits(block[r*cols+c]))
			}
		}
	}
	return t, nil
}

// DataType gives the element type and the number of elements of a slice that
// NewTensor takes.
func DataType(data any) (DType, int, error) {
	switch d := data.(type) {
	case []float32:
		return Float32, len(d), nil
	case []float16.Float16:
		return Float16, len(d), nil
	case []int8:
		return Int8, len(d), nil
	case []uint8:
		return UInt8, len(d), nil
	case []int16:
		return Int16, len(d), nil
	case []uint16:
		return UInt16, len(d), nil
	case []int32:
		return Int32, len(d), nil
	case []int64:
		return Int64, len(d), nil
	case Nibbles:
		return Int4, len(d), nil
	case UNibbles:
		return UInt4, len(d), nil
	}
	return 0, 0, fmt.Errorf("%T holds no tensor: want a slice of float32, an integer type, Nibbles or UNibbles", data)
}

func packNibbles[T int8 | uint8](codes []T, lo, hi int) ([]byte, error) {
	raw := make([]byte, (len(codes)+1)/2)
	for i, c := range codes {
		if int(c) < lo || int(c) > hi {
			return nil, fmt.Errorf("element %d is %d, outside the 4-bit range %d..%d", i, c, lo, hi)
		}
		raw[i/2] |= byte(c) & 0xf << (4 * (i % 2))
	}
	return raw, nil
}

// Floats decodes a float32 or float16 tensor.
func (t Tensor) Floats() ([]float32, error) {
	if !t.DType.IsFloat() {
		return nil, fmt.Errorf("a tensor of %s where float32 is wanted", t.DType)
	}
	if err := t.validate(); err != nil {
		return nil, err
	}
	if t.DType == Float16 {
		v := make([]float32, len(t.Raw)/2)
		for i := range v {
			v[i] = float16.Frombits(binary.LittleEndian.Uint16(t.Raw[2*i:])).Float32()
		}
		return v, nil
	}
	v := make([]float32, len(t.Raw)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Raw[4*i:]))
	}
	return v, nil
}

// Ints decodes a tensor of any integer type.
func (t Tensor) Ints() ([]int64, error) {
	if t.DType.IsFloat() {
		return nil, fmt.Errorf("a tensor of %s where integers are wanted", t.DType)
	}
	if err := t.validate(); err != nil {
		return nil, err
	}
	n, _ := elements(t.Shape)
	v := make([]int64, n)
	for i := range v {
		v[i] = t.integer(i)
	}
	return v, nil
}

func (t Tensor) integer(i int) int64 {
	switch le := binary.LittleEndian; t.DType {
	case UInt4:
		return int64(t.Raw[i/2] >> (4 * (i % 2)) & 0xf)
	case Int4:
		return int64(int8(t.Raw[i/2]>>(4*(i%2))<<4) >> 4)
	case UInt8:
		return int64(t.Raw[i])
	case Int8:
		return int64(int8(t.Raw[i]))
	case UInt16:
		return int64(le.Uint16(t.Raw[2*i:]))
	case Int16:
		return int64(int16(le.Uint16(t.Raw[2*i:])))
	case Int32:
		return int64(int32(le.Uint32(t.Raw[4*i:])))
	default: // Int64: Ints let nothing else through
		return int64(le.Uint64(t.Raw[8*i:]))
	}
}

// validate checks that the bytes are as many as type and shape say.
func (t Tensor) validate() error {
	n, err := elements(t.Shape)
	if err != nil {
		return err
	}
	if t.DType.Bits() == 0 || int64(len(t.Raw)) != t.DType.bytesFor(n) {
		return fmt.Errorf("%d bytes for %s %v, want %d", len(t.Raw), t.DType, t.Shape, t.DType.bytesFor(n))
	}
	return nil
}

// Half is the tensor in float16. It fails where a number is beyond float16's reach, and
// where the only number of a constant would become 0.
func (t Tensor) Half() (Tensor, error) {
	values, err := t.Floats()
	if err != nil {
		return Tensor{}, err
	}
	halves := make([]float16.Float16, len(values))
	for i, v := range values {
		halves[i] = float16.Fromfloat32(v)
		if !halves[i].IsFinite() && !math.IsInf(float64(v), 0) && !math.IsNaN(float64(v)) {
			return Tensor{}, fmt.Errorf("element %d is %g, beyond the largest float16, 65504", i, v)
		}
		if len(values) == 1 && v != 0 && halves[i].Float32() == 0 {
			return Tensor{}, fmt.Errorf("it is %g, which is 0 in float16", v)
		}
	}
	return NewTensor(t.Shape, halves)
}

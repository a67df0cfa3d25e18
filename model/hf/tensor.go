package hf

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"eisft/model/kernels"
)

// DType is the storage type of a tensor's numbers: the name that safetensors
// uses, or for the block formats of GGUF the one that ggml uses.
type DType string

// The types that Float32 or Int64 convert. All are little-endian.
const (
	DTypeF64  DType = "F64"
	DTypeF32  DType = "F32"
	DTypeF16  DType = "F16"
	DTypeBF16 DType = "BF16"
	DTypeI64  DType = "I64"
	DTypeI32  DType = "I32"
	DTypeI16  DType = "I16"
	DTypeI8   DType = "I8"
	DTypeU8   DType = "U8"
	DTypeQ80  DType = "Q8_0" // blocks of 32 numbers: one F16 scale and 8-bit codes
	DTypeQ40  DType = "Q4_0" // blocks of 32: one F16 scale and 4-bit codes
	DTypeQ41  DType = "Q4_1" // the same with an F16 minimum
	DTypeQ50  DType = "Q5_0" // blocks of 32: one F16 scale and 5-bit codes
	DTypeQ51  DType = "Q5_1" // the same with an F16 minimum
	DTypeQ4K  DType = "Q4_K" // blocks of 256: F16 scale and minimum, of each 32 numbers in 6 bits; 4-bit codes
	DTypeQ5K  DType = "Q5_K" // the same with 5-bit codes
	DTypeQ6K  DType = "Q6_K" // blocks of 256: one F16 scale, int8 scales of each 16 numbers, 6-bit codes
	// Blocks with fewer bits or with tables: gguf_few_bits.go and gguf_iq.go describe them.
	DTypeQ2K    DType = "Q2_K"
	DTypeQ3K    DType = "Q3_K"
	DTypeIQ1S   DType = "IQ1_S"
	DTypeIQ1M   DType = "IQ1_M"
	DTypeIQ2XXS DType = "IQ2_XXS"
	DTypeIQ2XS  DType = "IQ2_XS"
	DTypeIQ2S   DType = "IQ2_S"
	DTypeIQ3XXS DType = "IQ3_XXS"
	DTypeIQ3S   DType = "IQ3_S"
	DTypeIQ4NL  DType = "IQ4_NL"
	DTypeIQ4XS  DType = "IQ4_XS"
	DTypeTQ1    DType = "TQ1_0"
	DTypeTQ2    DType = "TQ2_0"
	DTypeQ1     DType = "Q1_0"
	DTypeQ2     DType = "Q2_0"
	DTypeMXFP4  DType = "MXFP4"
	DTypeNVFP4  DType = "NVFP4"
)

// layout says how a type is stored: size bytes for every block of count
// numbers. floats converts blocks; it is nil for what is not floating-point.
type layout struct {
	size, count int
	floats      func(dst []float32, src []byte)
}

// layouts holds every type that a file may contain. Those that nothing here
// converts are known by their size, so that the rest of the file can be read.
var layouts = map[DType]layout{
	DTypeF64: {8, 1, readF64}, DTypeF32: {4, 1, readF32}, DTypeF16: {2, 1, kernels.F16ToF32}, DTypeBF16: {2, 1, kernels.BF16ToF32},
	DTypeI64: {8, 1, nil}, DTypeI32: {4, 1, nil}, DTypeI16: {2, 1, nil}, DTypeI8: {1, 1, nil}, DTypeU8: {1, 1, nil},
	"U64": {8, 1, nil}, "U32": {4, 1, nil}, "U16": {2, 1, nil}, "BOOL": {1, 1, nil}, "F8_E4M3": {1, 1, nil}, "F8_E5M2": {1, 1, nil},
	DTypeQ80: {34, 32, dequantQ80},
	DTypeQ40: {18, 32, dequant32(4, false)}, DTypeQ41: {20, 32, dequant32(4, true)},
	DTypeQ50: {22, 32, dequant32(5, false)}, DTypeQ51: {24, 32, dequant32(5, true)},
	DTypeQ4K: {144, 256, dequantK(4)}, DTypeQ5K: {176, 256, dequantK(5)}, DTypeQ6K: {210, 256, dequantQ6K},
	DTypeQ2K: {84, 256, dequantQ2K}, DTypeQ3K: {110, 256, dequantQ3K},
	DTypeIQ1S: {50, 256, dequantIQ1S}, DTypeIQ1M: {56, 256, dequantIQ1M},
	DTypeIQ2XXS: {66, 256, dequantIQ2XXS}, DTypeIQ2XS: {74, 256, dequantIQ2XS}, DTypeIQ2S: {82, 256, dequantIQ2S},
	DTypeIQ3XXS: {98, 256, dequantIQ3XXS}, DTypeIQ3S: {110, 256, dequantIQ3S},
	DTypeIQ4NL: {18, 32, dequantIQ4NL}, DTypeIQ4XS: {136, 256, dequantIQ4XS},
	DTypeTQ1: {54, 256, dequantTQ1}, DTypeTQ2: {66, 256, dequantTQ2},
	DTypeQ1: {18, 128, dequantQ1}, DTypeQ2: {18, 64, dequantQ2},
	DTypeMXFP4: {17, 32, dequantMXFP4}, DTypeNVFP4: {36, 64, dequantNVFP4},
}

// kernelCodes are the types whose numbers package kernels multiplies with as they are stored.
var kernelCodes = map[DType]kernels.Code{
	DTypeBF16: kernels.BF16, DTypeF16: kernels.F16, DTypeQ80: kernels.Q80, DTypeQ40: kernels.Q40, DTypeQ41: kernels.Q41,
	DTypeQ50: kernels.Q50, DTypeQ51: kernels.Q51, DTypeQ4K: kernels.Q4K, DTypeQ5K: kernels.Q5K, DTypeQ6K: kernels.Q6K,
}

// Stored returns the numbers of a floating-point tensor as they are stored.
func (t Tensor) Stored() kernels.Stored {
	l := layouts[t.DType]
	return kernels.Stored{Data: t.Data, Size: l.size, Count: l.count, Widen: l.floats, Code: kernelCodes[t.DType]}
}

// IsFloat says whether Float32 converts the type.
func (d DType) IsFloat() bool { return layouts[d].floats != nil }

// Bytes returns how many bytes n numbers take.
func (d DType) Bytes(n int) int { return n / layouts[d].count * layouts[d].size }

func readF64(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
	}
}

func readF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

// Tensor is one tensor of a checkpoint. Shape is row-major, the last dimension
// contiguous; a scalar has an empty shape. Data usually is a view of the mapped
// file: it must not be written to, and not be read after its file was closed.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// Rows returns rows [lo,hi) of a tensor of two or more dimensions, or elements
// [lo,hi) of a vector, as a view of the same data.
func (t Tensor) Rows(lo, hi int) Tensor {
	size := len(t.Data) / max(t.Shape[0], 1)
	t.Data = t.Data[lo*size : hi*size]
	t.Shape = append([]int{hi - lo}, t.Shape[1:]...)
	return t
}

// Gather returns a copy whose row i is row order[i] of the tensor, or element of a vector.
func (t Tensor) Gather(order []int) Tensor {
	size := len(t.Data) / max(t.Shape[0], 1)
	data := make([]byte, 0, len(order)*size)
	for _, from := range order {
		data = append(data, t.Data[from*size:(from+1)*size]...)
	}
	t.Data, t.Shape = data, append([]int{len(order)}, t.Shape[1:]...)
	return t
}

// UnpairedRows is the order in which the rows of q or k are taken where rotary embedding
// turns neighbours (2i and 2i+1 of a head) instead of the halves of a head (i and i+d/2),
// so that the halves turn: of each head of d rows, row j·d/2+i is the stored row 2i+j.
func UnpairedRows(rows, heads int) []int {
	order, d := make([]int, 0, rows), rows/heads
	for h := range heads {
		for j := range 2 {
			for i := range d / 2 {
				order = append(order, h*d+2*i+j)
			}
		}
	}
	return order
}

// Float32 converts the numbers of a floating-point tensor into a new slice; see
// [Tensor.ReadFloat32].
func (t Tensor) Float32() ([]float32, error) {
	n, err := t.check()
	if err != nil {
		return nil, err
	}
	out := make([]float32, n)
	return out, t.ReadFloat32(out)
}

// ReadFloat32 converts the numbers of a floating-point tensor (F64, F32, F16,
// BF16 and the block formats of GGUF) into out, which has as many elements, in
// row-major order. F64 is rounded to the nearest float32, as are the formats of
// GGUF that add a minimum, have two scales or a table of numbers; all others are exact.
func (t Tensor) ReadFloat32(out []float32) error {
	n, err := t.check()
	if err != nil {
		return err
	}
	if n != len(out) {
		return fmt.Errorf("tensor %s: found %d numbers, want the %d that there is room for", t.Name, n, len(out))
	}
	read := layouts[t.DType].floats
	if read == nil {
		return fmt.Errorf("tensor %s: found %s, want a floating-point type (F64, F32, F16, BF16); convert the checkpoint to BF16", t.Name, t.DType)
	}
	read(out, t.Data)
	return nil
}

// Numbers returns the numbers of a tensor of type F32 or I8 where they lie, T being float32 or
// int8; a copy of them where the machine has another order of bytes. They must not be written to.
func Numbers[T float32 | int8](t Tensor) ([]T, error) {
	want := payloadOf([]T(nil)).dtype
	n, err := t.check()
	if err == nil && t.DType != want {
		err = fmt.Errorf("tensor %s: found %s, want %s", t.Name, t.DType, want)
	}
	if err != nil || n == 0 {
		return nil, err
	}
	if first := unsafe.SliceData(t.Data); littleEndian && uintptr(unsafe.Pointer(first))%unsafe.Alignof(T(0)) == 0 {
		return unsafe.Slice((*T)(unsafe.Pointer(first)), n), nil
	}
	list := make([]T, n)
	_, err = binary.Decode(t.Data, binary.LittleEndian, list)
	return list, err
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// Int64 converts the numbers of an integer tensor (I64, I32, I16, I8, U8) into
// a new slice in row-major order.
func (t Tensor) Int64() ([]int64, error) {
	n, err := t.check()
	if err != nil {
		return nil, err
	}
	var at func(i int) int64
	switch t.DType {
	case DTypeI64:
		at = func(i int) int64 { return int64(binary.LittleEndian.Uint64(t.Data[8*i:])) }
	case DTypeI32:
		at = func(i int) int64 { return int64(int32(binary.LittleEndian.Uint32(t.Data[4*i:]))) }
	case DTypeI16:
		at = func(i int) int64 { return int64(int16(binary.LittleEndian.Uint16(t.Data[2*i:]))) }
	case DTypeI8:
		at = func(i int) int64 { return int64(int8(t.Data[i])) }
	case DTypeU8:
		at = func(i int) int64 { return int64(t.Data[i]) }
	default:
		return nil, fmt.Errorf("tensor %s: found %s, want an integer type (I64, I32, I16, I8, U8)", t.Name, t.DType)
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = at(i)
	}
	return out, nil
}

// check returns the number of elements after making sure that Data holds them.
func (t Tensor) check() (int, error) {
	n, size, err := storage(t.DType, t.Shape)
	if err != nil {
		return 0, fmt.Errorf("tensor %s: %w", t.Name, err)
	}
	if len(t.Data) != size {
		return 0, fmt.Errorf("tensor %s: found %d bytes, want %d for %s %v", t.Name, len(t.Data), size, t.DType, t.Shape)
	}
	return n, nil
}

// storage returns how many numbers a shape has and how many bytes they take.
func storage(d DType, shape []int) (count, size int, err error) {
	l, ok := layouts[d]
	if !ok {
		return 0, 0, fmt.Errorf("dtype %q is not known", string(d))
	}
	count = 1
	for _, dim := range shape {
		if dim < 0 {
			return 0, 0, fmt.Errorf("shape %v: found the dimension %d, want 0 or more", shape, dim)
		}
		hi, lo := bits.Mul64(uint64(count), uint64(dim))
		if hi != 0 || lo > math.MaxInt {
			return 0, 0, fmt.Errorf("shape %v: its number of elements overflows", shape)
		}
		count = int(lo)
	}
	if l.count > 1 && (len(shape) == 0 || shape[len(shape)-1]%l.count != 0) {
		return 0, 0, fmt.Errorf("shape %v: %s needs rows of a multiple of %d", shape, d, l.count)
	}
	hi, lo := bits.Mul64(uint64(count/l.count), uint64(l.size))
	if hi != 0 || lo > math.MaxInt {
		return 0, 0, fmt.Errorf("shape %v: its size in bytes overflows", shape)
	}
	return count, int(lo), nil
}

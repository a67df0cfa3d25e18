package kernels

import (
	"encoding/binary"
	"math"
)

// BF16ToF32 widens the little-endian bfloat16 numbers of src, 2*len(dst) bytes, to dst. It is exact.
func BF16ToF32(dst []float32, src []byte) {
	need("BF16ToF32: src", len(src), 2*len(dst))
	bf16ToF32(dst, src)
}

// F32ToBF16 rounds src to little-endian bfloat16, ties to even, in the first 2*len(src) bytes of dst.
func F32ToBF16(dst []byte, src []float32) {
	need("F32ToBF16: dst", len(dst), 2*len(src))
	for i, v := range src {
		b := math.Float32bits(v)
		if v != v {
			b |= 1 << 22 // quiet, and no NaN whose payload sits in the lower half becomes an infinity
		} else {
			b += 0x7fff + b>>16&1
		}
		binary.LittleEndian.PutUint16(dst[2*i:], uint16(b>>16))
	}
}

// MaxF16 is the largest number of float16, ZeroF16 the largest that it rounds to 0: half of its least one.
const (
	MaxF16  = 65504
	ZeroF16 = 0x1p-25
)

// F16ToF32 widens the little-endian IEEE 754 half-precision numbers of src, 2*len(dst) bytes, to dst. It is exact.
func F16ToF32(dst []float32, src []byte) {
	need("F16ToF32: src", len(src), 2*len(dst))
	f16sToF32(dst, src)
}

func f16ToF32(h uint16) float32 {
	sign, mag := uint32(h&0x8000)<<16, uint32(h&0x7fff)<<13
	switch {
	case h&0x7c00 == 0x7c00: // infinity, NaN
		return math.Float32frombits(sign | 0x7f800000 | mag&0x7fffff)
	case h&0x7c00 == 0: // zero, subnormal: units of 2⁻²⁴
		v := float32(h&0x3ff) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(v))
	default:
		return math.Float32frombits(sign | (mag + (127-15)<<23))
	}
}

// F32ToF16 rounds src to little-endian IEEE 754 half precision, ties to even, in the first 2*len(src) bytes of dst.
// What is beyond its range becomes an infinity.
func F32ToF16(dst []byte, src []float32) {
	need("F32ToF16: dst", len(dst), 2*len(src))
	f32sToF16(dst, src)
}

func f32sToF16Go(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], f32ToF16(v))
	}
}

func f32ToF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign, b := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case b > 0x7f800000: // NaN
		return sign | 0x7e00 | uint16(b>>13&0x1ff)
	case b >= 0x47800000: // 2¹⁶ and beyond
		return sign | 0x7c00
	case b < 0x38800000: // subnormal: let the float adder round to units of 2⁻²⁴
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-math.Float32bits(0.5))
	default: // a mantissa that rounds up carries into the exponent, up to infinity
		b += 0xfff + b>>13&1
		return sign | uint16((b-(127-15)<<23)>>13)
	}
}

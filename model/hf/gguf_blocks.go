package hf

import (
	"encoding/binary"
	"slices"

	"eisft/model/kernels"
)

// The block formats of ggml (ggml-quants.c). A block of src becomes 32 or 256
// numbers of dst; storage has checked that the sizes agree.

// dequantQ80 expands blocks of an F16 scale d and 32 int8 codes q to d·q.
func dequantQ80(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 32) {
		d := half(src)
		for i, q := range src[2:34] {
			out[i] = d * float32(int8(q))
		}
		src = src[34:]
	}
}

// dequant32 returns what expands blocks of an F16 scale d and 32 codes q of 4 or 5
// bits: Q4_0 and Q5_0 to d·(q−2^(bits−1)), Q4_1 and Q5_1, which have an F16
// minimum m behind d, to d·q+m. The fifth bits of all codes come first, as one
// number; of the 16 bytes behind them the low halves are the first 16 codes.
func dequant32(bits int, withMin bool) func(dst []float32, src []byte) {
	return func(dst []float32, src []byte) {
		for out := range slices.Chunk(dst, 32) {
			d := half(src)
			m := -d * float32(int(1)<<(bits-1))
			src = src[2:]
			if withMin {
				m, src = half(src), src[2:]
			}
			fifth := uint32(0)
			if bits == 5 {
				fifth, src = binary.LittleEndian.Uint32(src), src[4:]
			}
			for i, q := range src[:16] {
				out[i] = d*float32(uint32(q&15)|fifth>>i&1<<4) + m
				out[i+16] = d*float32(uint32(q>>4)|fifth>>(i+16)&1<<4) + m
			}
			src = src[16:]
		}
	}
}

// dequantK returns what expands blocks of 256 codes q of 4 or 5 bits (Q4_K, Q5_K) to
// d·s·q − e·m: F16 numbers d and e, s and m of 6 bits for each 32 numbers (12
// bytes, see scaleAndMin), the fifth bits (32 bytes, bit j for the j-th group
// of 32), and 128 bytes of which each 32 hold two groups, low halves first.
func dequantK(bits int) func(dst []float32, src []byte) {
	return func(dst []float32, src []byte) {
		for out := range slices.Chunk(dst, 256) {
			d, e, scales := half(src), half(src[2:]), src[4:16]
			src = src[16:]
			var fifths []byte
			if bits == 5 {
				fifths, src = src[:32], src[32:]
			}
			for j := range 8 {
				s, m := scaleAndMin(scales, j)
				scale, low := d*float32(s), e*float32(m)
				codes, shift, o := src[32*(j/2):][:32], 4*(j%2), out[32*j:][:32]
				for i, c := range codes {
					q := c >> shift & 15
					if fifths != nil {
						q |= fifths[i] >> j & 1 << 4
					}
					o[i] = scale*float32(q) - low
				}
			}
			src = src[128:]
		}
	}
}

// scaleAndMin unpacks the 6-bit scale and minimum of group j of 8 from 12 bytes:
// bytes 0 to 3 hold the scales of the first four groups, bytes 4 to 7 their
// minimums. Of the other four, bytes 8 to 11 hold the low four bits (the scale's
// in the low half), and the upper two bits of the first eight bytes the rest.
func scaleAndMin(packed []byte, j int) (s, m byte) {
	if j < 4 {
		return packed[j] & 63, packed[j+4] & 63
	}
	return packed[j+4]&15 | packed[j-4]>>6<<4, packed[j+4]>>4 | packed[j]>>6<<4
}

// dequantQ6K expands blocks of 256 codes of 6 bits to d·s·(q−32): the codes'
// low 4 bits (128 bytes), their high 2 bits (64 bytes), 16 int8 scales s, one
// for each 16 numbers, and an F16 scale d.
func dequantQ6K(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		low, high, scales, d := src[:128], src[128:192], src[192:208], half(src[208:])
		for n := range 2 { // halves of 128 numbers
			lo, hi, s, o := low[64*n:], high[32*n:], scales[8*n:], out[128*n:]
			for i := range 32 {
				codes := [4]byte{
					lo[i]&15 | hi[i]&3<<4,
					lo[i+32]&15 | hi[i]>>2&3<<4,
					lo[i]>>4 | hi[i]>>4&3<<4,
					lo[i+32]>>4 | hi[i]>>6<<4,
				}
				for k, q := range codes {
					o[32*k+i] = d * float32(int8(s[2*k+i/16])) * float32(int(q)-32)
				}
			}
		}
		src = src[210:]
	}
}

func half(src []byte) float32 {
	var d [1]float32
	kernels.F16ToF32(d[:], src[:2])
	return d[0]
}

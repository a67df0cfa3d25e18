package hf

import (
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

// dequantQ40 expands blocks of an F16 scale d and 32 codes of 4 bits to d·(q−8).
// The low halves of the bytes are the first 16 numbers, the high halves the rest.
func dequantQ40(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 32) {
		d := half(src)
		for i, q := range src[2:18] {
			out[i] = d * float32(int(q&15)-8)
			out[i+16] = d * float32(int(q>>4)-8)
		}
		src = src[18:]
	}
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

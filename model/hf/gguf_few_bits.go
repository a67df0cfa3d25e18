package hf

import (
	"math"
	"slices"
)

// The formats of ggml with few bits for each number whose codes are steps, and those with numbers of 4 bits
// that are floating-point themselves.

// dequantQ2K expands blocks of 256 codes q of 2 bits to d·s·q − e·m: s and m of 4 bits for each 16 numbers (16
// bytes, s in the low half), codes (64 bytes, see crumbs), and F16 numbers d and e.
func dequantQ2K(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d, e := half(src[80:]), half(src[82:])
		for g, s := range src[:16] {
			scale, low := d*float32(s&15), e*float32(s>>4)
			codes, shift := crumbs(src[16:80], g)
			o := out[16*g:][:16]
			for i, c := range codes {
				o[i] = float32(scale*float32(c>>shift&3)) - low
			}
		}
		src = src[84:]
	}
}

// dequantQ3K expands blocks of 256 codes q of 3 bits to d·(s−32)·(q−4): the upper bits of the codes (32 bytes,
// bit j for the j-th group of 32), their lower two bits (64 bytes, see crumbs), 16 scales s of 6 bits, one for
// each 16 numbers, and an F16 scale d. Of the 12 bytes with scales the first eight hold the low four bits, those
// of the first eight scales in the low halves, and the last four the upper two, bits 2k and 2k+1 of the j-th for
// scale 4k+j.
func dequantQ3K(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		scales, d := src[96:108], half(src[108:])
		for g := range 16 {
			s := scales[g%8]>>(4*(g/8))&15 | scales[8+g%4]>>(2*(g/4))&3<<4
			scale := d * float32(int(s)-32)
			codes, shift := crumbs(src[32:96], g)
			high, o := src[16*(g%2):][:16], out[16*g:][:16]
			for i, c := range codes {
				q := c>>shift&3 | high[i]>>(g/2)&1<<2
				o[i] = scale * float32(int(q)-4)
			}
		}
		src = src[110:]
	}
}

// dequantTQ2 expands blocks of 256 codes q of 2 bits (64 bytes, see crumbs) and an F16 scale d to d·(q−1).
func dequantTQ2(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d := half(src[64:])
		for g := range 16 {
			codes, shift := crumbs(src[:64], g)
			o := out[16*g:][:16]
			for i, c := range codes {
				o[i] = d * float32(int(c>>shift&3)-1)
			}
		}
		src = src[66:]
	}
}

// crumbs returns the bytes that hold the g-th 16 codes of 2 bits, and by how much they are shifted, where each 32
// bytes hold four groups of 32, the first in the lowest bits.
func crumbs(codes []byte, g int) (in []byte, shift int) {
	return codes[g/8*32+g%2*16:][:16], g % 8 / 2 * 2
}

// dequantTQ1 expands blocks of 256 codes q of three values and an F16 scale d to d·(q−1). A byte holds five codes,
// as the digits to base 3, the first one highest, of a fraction of 256 rounded up. The first 32 bytes hold
// five groups of 32, the next 16 five of 16, and the last four bytes four of 4.
func dequantTQ1(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d, at := half(src[52:]), 0
		for _, part := range [][]byte{src[:32], src[32:48], src[48:52]} {
			power := byte(1)
			for range min(5, (256-at)/len(part)) {
				for _, b := range part {
					digit := int(b*power) * 3 >> 8 // b·power loses the digits before
					out[at] = d * float32(digit-1)
					at++
				}
				power *= 3
			}
		}
		src = src[54:]
	}
}

// dequantQ1 expands blocks of an F16 scale d and 128 bits, the lowest of a byte first, to d for 1 and −d for 0.
func dequantQ1(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 128) {
		d := half(src)
		for i := range out {
			out[i] = signed(d, ^src[2+i/8]>>(i%8))
		}
		src = src[18:]
	}
}

// dequantQ2 expands blocks of an F16 scale d and 64 codes q of 2 bits, the lowest of a byte first, to d·(q−1).
func dequantQ2(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 64) {
		d := half(src)
		for i := range out {
			out[i] = d * float32(int(src[2+i/4]>>(i%4*2)&3)-1)
		}
		src = src[18:]
	}
}

// fp4Levels are twice the numbers of 4 bits with two bits of exponent (E2M1; OCP Microscaling Formats, 5.3.3).
var fp4Levels = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// dequantMXFP4 expands blocks of an exponent e and 32 numbers x of 4 bits to 2^(e−127)·x; of the 16 bytes the low
// halves are the first 16 numbers.
func dequantMXFP4(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 32) {
		levels(out, float32(math.Ldexp(1, int(src[0])-128)), src[1:17], &fp4Levels)
		src = src[17:]
	}
}

// dequantNVFP4 expands blocks of 64 numbers x of 4 bits to s·x: a scale s of 8 bits without a sign (E4M3) for
// each 16 numbers, and for each 16 numbers eight bytes, whose low halves are the first eight.
func dequantNVFP4(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 64) {
		for j := range 4 {
			scale := 0.5 * e4m3(src[j])
			for i, q := range src[4+8*j:][:8] {
				out[16*j+i] = scale * fp4Levels[q&15]
				out[16*j+i+8] = scale * fp4Levels[q>>4]
			}
		}
		src = src[36:]
	}
}

// e4m3 returns a number of four bits of exponent and three of mantissa. The eighth bit is left out; 127, which
// stands for no number, is 0.
func e4m3(b byte) float32 {
	exponent, mantissa := int(b>>3&15), float64(b&7)
	switch {
	case b == 127:
		return 0
	case exponent == 0:
		return float32(math.Ldexp(mantissa, -9))
	default:
		return float32(math.Ldexp(8+mantissa, exponent-10))
	}
}

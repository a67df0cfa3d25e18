package hf

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// The formats of ggml whose codes stand for numbers of a table, or for several numbers at once: entries of a
// grid (gguf_grids.go). Signs beside a grid have a bit for each of eight numbers, 1 if it is negative; where
// there are seven, the eighth makes the number of ones even.

// The numbers that codes stand for.
var (
	iq4Levels    = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	iq2Levels    = [4]float32{8, 25, 43}
	iq3xxsLevels = [8]float32{4, 12, 20, 28, 36, 44, 52, 62}
	iq3sLevels   = [8]float32{1, 3, 5, 7, 9, 11, 13, 15}
	iq1Levels    = [4]float32{-1, 0, 1}
)

// dequantIQ4NL expands blocks of an F16 scale d and 32 codes of 4 bits to d times their levels; of the 16
// bytes the low halves are the first 16 codes.
func dequantIQ4NL(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 32) {
		levels(out, half(src), src[2:18], &iq4Levels)
		src = src[18:]
	}
}

// dequantIQ4XS expands blocks of 256 as IQ4_NL does each 32 of them, with the scale d·(s−32): an F16 number d,
// the upper two bits of eight scales s (2 bytes), their lower four (4 bytes, low halves first), and the codes.
func dequantIQ4XS(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d, high, low := half(src), binary.LittleEndian.Uint16(src[2:]), src[4:8]
		for j := range 8 {
			s := int(low[j/2]>>(4*(j%2))&15) | int(high>>(2*j)&3)<<4
			levels(out[32*j:][:32], d*float32(s-32), src[8+16*j:][:16], &iq4Levels)
		}
		src = src[136:]
	}
}

// levels writes scale times the levels of 32 codes: the low halves of 16 bytes, then the high ones.
func levels(out []float32, scale float32, codes []byte, of *[16]float32) {
	for i, q := range codes[:16] {
		out[i] = scale * of[q&15]
		out[i+16] = scale * of[q>>4]
	}
}

// dequantIQ2XXS expands blocks of 256: an F16 number d, and for each 32 numbers four entries of the grid (a
// byte each) and a word that has signs of 7 bits for each entry and in its upper four bits s, of the scale
// d·(s+½)/4.
func dequantIQ2XXS(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d := half(src)
		for j := range 8 {
			group := src[2+8*j:][:8]
			word := binary.LittleEndian.Uint32(group[4:])
			scale := d * (0.5 + float32(word>>28)) * 0.25
			for l := range 4 {
				eight(out[32*j+8*l:], scale, iq2xxsGrid[group[l]], evenSigns(word>>(7*l)))
			}
		}
		src = src[66:]
	}
}

// dequantIQ2XS expands blocks of 256: an F16 number d, 32 words of 9 bits for an entry and 7 bits of signs, and
// 16 numbers s of 4 bits, of the scale d·(s+½)/4 of each 16.
func dequantIQ2XS(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d, scales := half(src), src[66:74]
		for l := range 32 {
			word := binary.LittleEndian.Uint16(src[2+2*l:])
			eight(out[8*l:], iq2Scale(d, scales, l/2), iq2xsGrid[word&511], evenSigns(uint32(word>>9)))
		}
		src = src[74:]
	}
}

// dequantIQ2S expands blocks of 256: an F16 number d, the lower 8 bits of 32 entries, their signs of 8 bits, the
// upper two bits (8 bytes), and 16 numbers s of 4 bits, of the scale d·(s+½)/4 of each 16.
func dequantIQ2S(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d, low, signs, high, scales := half(src), src[2:34], src[34:66], src[66:74], src[74:82]
		for l := range 32 {
			entry := int(low[l]) | int(high[l/4]>>(2*(l%4))&3)<<8
			eight(out[8*l:], iq2Scale(d, scales, l/2), iq2sGrid[entry], signs[l])
		}
		src = src[82:]
	}
}

// iq2Scale is the scale of the j-th 16 numbers; low halves come first.
func iq2Scale(d float32, scales []byte, j int) float32 {
	return d * (0.5 + float32(scales[j/2]>>(4*(j%2))&15)) * 0.25
}

// eight writes the eight numbers of an entry of a grid of 2 bits.
func eight(out []float32, scale float32, entry uint16, signs byte) {
	for i := range out[:8] {
		out[i] = signed(scale*iq2Levels[entry>>(2*i)&3], signs>>i)
	}
}

// dequantIQ3XXS expands blocks of 256: an F16 number d, 64 entries of four numbers (a byte each), and for each
// 32 numbers a word that has signs of 7 bits for each two entries and in its upper four bits s, of the scale
// d·(s+½)/2.
func dequantIQ3XXS(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d, entries := half(src), src[2:66]
		for j := range 8 {
			word := binary.LittleEndian.Uint32(src[66+4*j:])
			scale := d * (0.5 + float32(word>>28)) * 0.5
			for l := range 4 {
				o, signs := out[32*j+8*l:], evenSigns(word>>(7*l))
				four(o, scale, iq3xxsGrid[entries[8*j+2*l]], signs, &iq3xxsLevels)
				four(o[4:], scale, iq3xxsGrid[entries[8*j+2*l+1]], signs>>4, &iq3xxsLevels)
			}
		}
		src = src[98:]
	}
}

// dequantIQ3S expands blocks of 256: an F16 number d, the lower 8 bits of 64 entries of four numbers, their
// ninth bits (8 bytes), signs (32 bytes), and eight numbers s of 4 bits, low halves first, of the scale
// d·(2s+1) of each 32.
func dequantIQ3S(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d, low, high, signs, scales := half(src), src[2:66], src[66:74], src[74:106], src[106:110]
		for l := range 64 {
			scale := d * float32(1+2*int(scales[l/16]>>(4*(l/8%2))&15))
			entry := int(low[l]) | int(high[l/8]>>(l%8)&1)<<8
			four(out[4*l:], scale, iq3sGrid[entry], signs[l/2]>>(4*(l%2)), &iq3sLevels)
		}
		src = src[110:]
	}
}

// four writes the four numbers of an entry of a grid of 3 bits.
func four(out []float32, scale float32, entry uint16, signs byte, levels *[8]float32) {
	for i := range out[:4] {
		out[i] = signed(scale*levels[entry>>(3*i)&7], signs>>i)
	}
}

// dequantIQ1S expands blocks of 256: an F16 number d, the lower 8 bits of 32 entries of eight numbers, and for
// each 32 numbers a word with the upper three bits of four entries, three bits s of the scale d·(2s+1), and the
// sign of the eighth that is added to each level.
func dequantIQ1S(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		d, low := half(src), src[2:34]
		for j := range 8 {
			word := binary.LittleEndian.Uint16(src[34+2*j:])
			scale := d * float32(2*(word>>12&7)+1)
			for l := range 4 {
				entry := int(low[4*j+l]) | int(word>>(3*l)&7)<<8
				eightAround(out[32*j+8*l:], scale, iq1Grid[entry], signed(0.125, byte(word>>15)))
			}
		}
		src = src[50:]
	}
}

// dequantIQ1M expands blocks of 256: the lower 8 bits of 32 entries of eight numbers; for each entry half a
// byte, low halves first, of its upper three bits and the sign of the eighth that is added to each level; and
// four words with four numbers s of three bits each, of the scale d·(2s+1) of each 16. The words' upper four
// bits are together an F16 number d, its lowest bits in the first.
func dequantIQ1M(dst []float32, src []byte) {
	for out := range slices.Chunk(dst, 256) {
		low, high := src[:32], src[32:48]
		var words [4]uint16
		var bits uint16
		for i := range words {
			words[i] = binary.LittleEndian.Uint16(src[48+2*i:])
			bits |= words[i] >> 12 << (4 * i)
		}
		d := half([]byte{byte(bits), byte(bits >> 8)})
		for l := range 32 {
			scale := d * float32(2*(words[l/8]>>(3*(l/2%4))&7)+1)
			upper := high[l/2] >> (4 * (l % 2))
			eightAround(out[8*l:], scale, iq1Grid[int(low[l])|int(upper&7)<<8], signed(0.125, upper>>3))
		}
		src = src[56:]
	}
}

// eightAround writes the eight numbers of an entry of the grid of IQ1, to whose levels delta is added.
func eightAround(out []float32, scale float32, entry uint16, delta float32) {
	for i := range out[:8] {
		out[i] = scale * (iq1Levels[entry>>(2*i)&3] + delta)
	}
}

// evenSigns adds the eighth sign to the lowest seven bits.
func evenSigns(seven uint32) byte {
	s := byte(seven & 127)
	return s | byte(bits.OnesCount8(s)&1)<<7
}

// signed returns x, or −x if the lowest bit says so.
func signed(x float32, negative byte) float32 {
	return math.Float32frombits(math.Float32bits(x) ^ uint32(negative&1)<<31)
}

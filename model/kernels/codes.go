package kernels

import (
	"encoding/binary"
	"math"
)

// The numbers of a quantized model are codes of 8 or 4 bits in two's complement times a float32 scale of each row, or of
// each block of it. They are held 32 numbers together, so that one row of memory is read for one row of weights: the
// scale (two of them if each is for 16) and then the codes. Codes of 4 bits are 8 greater, to be positive, and two in a
// byte: the first 16 in the low halves, the others in the high ones.
const codesTogether = 32

// storedCodes returns how codes are held, without data.
func storedCodes(bits, group int) Stored {
	switch {
	case bits == 8:
		return Stored{Size: 4 + codesTogether, Count: codesTogether, Widen: I8ToF32, Code: I8}
	case group == codesTogether:
		return Stored{Size: 4 + codesTogether/2, Count: codesTogether, Widen: widenI4, Code: I4}
	default:
		return Stored{Size: 8 + codesTogether/2, Count: codesTogether, Widen: widenI4Two, Code: I4Two}
	}
}

// StoredCodes returns how [StoreCodes] holds a weight [n, k] of these bits and blocks, with data
// that it has made, and how many bytes that is. It returns false for what the kernels do not
// multiply with: rows that are no multiple of 32, blocks that are none either, unless they are of
// 16 codes of 4 bits.
func StoredCodes(bits, n, k, block int, data []byte) (w Stored, bytes int, ok bool) {
	group := codesTogether
	if bits == 4 && block == 16 {
		group = block
	}
	if bits != 8 && bits != 4 || k%codesTogether != 0 || block%group != 0 {
		return Stored{}, 0, false
	}
	w = storedCodes(bits, group)
	w.Data = data
	return w, n * k / w.Count * w.Size, true
}

// StoreCodes holds a weight [n, k] of codes of 8 or 4 bits, row by row, for products with it as it is. scales has one
// for each row, or for each block of so many numbers of a row. It returns false where [StoredCodes] does. Rows that are
// held apart are, one behind the other, those of the whole weight.
func StoreCodes(bits int, codes []int8, scales []float32, n, k, block int) (Stored, bool) {
	w, bytes, ok := StoredCodes(bits, n, k, block, nil)
	if !ok {
		return Stored{}, false
	}
	if block == 0 {
		block = k
	}
	group := 4 * w.Count / (w.Size - w.Count*bits/8) // codes that have a scale together
	need("StoreCodes: codes", len(codes), n*k)
	need("StoreCodes: scales", len(scales), n*k/max(block, 1))
	w.Data = make([]byte, bytes)
	Parallel(n*k/codesTogether, 1<<9, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			at := w.Data[i*w.Size:][:w.Size]
			for j := 0; j < codesTogether; j += group {
				binary.LittleEndian.PutUint32(at, math.Float32bits(scales[(i*codesTogether+j)/block]))
				at = at[4:]
			}
			packCodes(at, codes[i*codesTogether:][:codesTogether])
		}
	})
	return w, true
}

// StoredI8 is a matrix whose numbers F32ToI8 has rounded.
func StoredI8(data []byte) Stored {
	w := storedCodes(8, 0)
	w.Data = data
	return w
}

// I8Bytes returns how many bytes F32ToI8 makes of n numbers, a multiple of [I8Block].
func I8Bytes(n int) int { return n / codesTogether * (4 + codesTogether) }

// I8Block is how many numbers have a scale together, where they are rounded to 8 bits.
const I8Block = codesTogether

// F32ToI8 rounds src, a multiple of [I8Block], to codes from -127 to 127 times a float32 scale of each block, for the
// largest of its numbers to be ±127. Where a number is not finite, its block becomes NaN. dst has I8Bytes(len(src)).
func F32ToI8(dst []byte, src []float32) {
	need("F32ToI8: dst", len(dst), I8Bytes(len(src)))
	roundI8(dst, src)
}

func roundI8Go(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[4+codesTogether:], src[codesTogether:] {
		block, codes := src[:codesTogether], dst[4:][:codesTogether]
		var largest, check float32
		for _, v := range block {
			largest = max(largest, v, -v)
			check += v - v // NaN for what is not finite
		}
		scale := largest / 127
		if check != check {
			scale = math.Float32frombits(0x7fc00000) // the same NaN everywhere
		}
		binary.LittleEndian.PutUint32(dst, math.Float32bits(scale))
		if !(scale > 0) {
			clear(codes)
			continue
		}
		for i, v := range block {
			codes[i] = byte(int8(Nearest(v/scale, -127, 127))) // the limits count where the scale has no bits left
		}
	}
}

// I8ToF32 widens what F32ToI8 has made to dst.
func I8ToF32(dst []float32, src []byte) {
	need("I8ToF32: src", len(src), I8Bytes(len(dst)))
	widenI8(dst, src)
}

// packCodes writes codes as bytes, or as halves of bytes if there is no room for that.
func packCodes(dst []byte, codes []int8) {
	for i, c := range codes {
		switch {
		case len(dst) == len(codes):
			dst[i] = byte(c)
		case i < len(dst):
			dst[i] = byte(c+8) & 15
		default:
			dst[i-len(dst)] |= byte(c+8) << 4
		}
	}
}

func widenI8Go(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[codesTogether:], src[4+codesTogether:] {
		scale := math.Float32frombits(binary.LittleEndian.Uint32(src))
		for i, c := range src[4:][:codesTogether] {
			dst[i] = scale * float32(int8(c))
		}
	}
}

func widenI4(dst []float32, src []byte) {
	const half = codesTogether / 2
	for ; len(dst) > 0; dst, src = dst[codesTogether:], src[4+half:] {
		scale := math.Float32frombits(binary.LittleEndian.Uint32(src))
		widenHalves(dst, src[4:][:half], scale, scale)
	}
}

func widenI4Two(dst []float32, src []byte) {
	const half = codesTogether / 2
	for ; len(dst) > 0; dst, src = dst[codesTogether:], src[8+half:] {
		first, second := binary.LittleEndian.Uint32(src), binary.LittleEndian.Uint32(src[4:])
		widenHalves(dst, src[8:][:half], math.Float32frombits(first), math.Float32frombits(second))
	}
}

// widenHalves widens the low halves of codes by the first scale and the high ones by the second.
func widenHalves(dst []float32, codes []byte, first, second float32) {
	for i, c := range codes {
		dst[i] = first * float32(int(c&15)-8)
		dst[i+len(codes)] = second * float32(int(c>>4)-8)
	}
}

package hftest

import (
	"math"
	"slices"

	"eisft/model/kernels"
)

// Encoding is a block format of ggml. Encode rounds to the nearest code, with the
// scales that the largest numbers ask for: worse than llama.cpp's, as exact to read.
type Encoding struct {
	Kind   uint32 // ggml_type
	Encode func(values []float32) []byte
}

// The formats that files are made of.
var (
	Q80 = Encoding{8, func(v []float32) []byte { return symmetric(v, 127, packBytes) }}
	Q40 = Encoding{2, func(v []float32) []byte { return symmetric(v, 7, packNibbles) }}
	Q4K = Encoding{12, encodeQ4K}
	Q6K = Encoding{14, encodeQ6K}
)

// Q4KM is how llama.cpp's "Q4_K_M" files store matrices: some of them in Q6_K.
func Q4KM(name string) Encoding {
	for _, part := range []string{"output.weight", "token_embd.weight", "blk.0.attn_v.weight", "blk.0.ffn_down.weight"} {
		if name == part {
			return Q6K
		}
	}
	return Q4K
}

// Half returns the two bytes of a number in F16, and what they stand for.
func Half(x float64) ([]byte, float64) {
	bits, back := make([]byte, 2), make([]float32, 1)
	kernels.F32ToF16(bits, []float32{float32(x)})
	kernels.F16ToF32(back, bits)
	return bits, float64(back[0])
}

func maxAbs(v []float32) float64 { return math.Max(float64(slices.Max(v)), -float64(slices.Min(v))) }

// code returns the code from low to high that is nearest to x in steps of scale.
func code(x, scale float64, low, high int) int {
	if scale == 0 {
		return 0
	}
	return int(math.Min(math.Max(math.Round(x/scale), float64(low)), float64(high)))
}

// symmetric encodes blocks of 32 numbers with one scale and codes up to ±top.
func symmetric(v []float32, top int, pack func(codes []int) []byte) []byte {
	var out []byte
	for block := range slices.Chunk(v, 32) {
		bits, d := Half(maxAbs(block) / float64(top))
		codes := make([]int, 32)
		for i, x := range block {
			codes[i] = code(float64(x), d, -top, top)
		}
		out = append(append(out, bits...), pack(codes)...)
	}
	return out
}

func packBytes(codes []int) []byte {
	out := make([]byte, len(codes))
	for i, q := range codes {
		out[i] = byte(int8(q))
	}
	return out
}

func packNibbles(codes []int) []byte {
	out := make([]byte, 16)
	for i := range out {
		out[i] = byte(codes[i]+8) | byte(codes[i+16]+8)<<4
	}
	return out
}

func encodeQ4K(v []float32) []byte {
	var out []byte
	for block := range slices.Chunk(v, 256) {
		var steps, lows [8]float64
		for j, group := range slices.Collect(slices.Chunk(block, 32)) {
			lows[j] = -math.Min(0, float64(slices.Min(group)))
			steps[j] = (math.Max(0, float64(slices.Max(group))) + lows[j]) / 15
		}
		dBits, d := Half(slices.Max(steps[:]) / 63)
		eBits, e := Half(slices.Max(lows[:]) / 63)
		var s, m [8]int
		codes := make([]int, 256)
		for i, x := range block {
			j := i / 32
			s[j], m[j] = code(steps[j], d, 0, 63), code(lows[j], e, 0, 63)
			codes[i] = code(float64(x)+e*float64(m[j]), d*float64(s[j]), 0, 15)
		}
		out = append(append(append(append(out, dBits...), eBits...), PackScales(s, m)...), PackGroups(codes)...)
	}
	return out
}

// PackScales packs eight scales and minimums of 6 bits in 12 bytes. The layout is the
// picture in gguf-py's quants.py, a letter a bit, the lowest bit of a byte on the
// right: A to H are the scales, a to h the minimums, and of the letters that are in
// two bytes the lower bits are in the latter.
func PackScales(scales, mins [8]int) []byte {
	picture := []string{
		"EEAAAAAA", "FFBBBBBB", "GGCCCCCC", "HHDDDDDD",
		"eeaaaaaa", "ffbbbbbb", "ggcccccc", "hhdddddd",
		"eeeeEEEE", "ffffFFFF", "ggggGGGG", "hhhhHHHH",
	}
	left := map[byte]int{}
	for j := range 8 {
		left["ABCDEFGH"[j]], left["abcdefgh"[j]] = scales[j], mins[j]
	}
	out := make([]byte, 12)
	for _, at := range []int{8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7} {
		for bit := range 8 {
			letter := picture[at][7-bit]
			out[at] |= byte(left[letter]&1) << bit
			left[letter] >>= 1
		}
	}
	return out
}

// PackGroups packs the low four bits of 256 codes: 32 bytes for each two groups of 32.
func PackGroups(codes []int) []byte {
	out := make([]byte, 128)
	for i, q := range codes {
		out[i/64*32+i%32] |= byte(q&15) << (4 * (i / 32 % 2))
	}
	return out
}

func encodeQ6K(v []float32) []byte {
	var out []byte
	for block := range slices.Chunk(v, 256) {
		var steps [16]float64
		for j, group := range slices.Collect(slices.Chunk(block, 16)) {
			steps[j] = maxAbs(group) / 31
		}
		bits, d := Half(slices.Max(steps[:]) / 127)
		scales, codes := make([]int, 16), make([]int, 256)
		for i, x := range block {
			scales[i/16] = code(steps[i/16], d, 0, 127)
			codes[i] = 32 + code(float64(x), d*float64(scales[i/16]), -32, 31)
		}
		out = append(append(out, PackQ6K(codes, scales)...), bits...)
	}
	return out
}

// PackQ6K packs 256 codes of 6 bits and 16 scales; the block's F16 scale follows.
func PackQ6K(codes, scales []int) []byte {
	out := make([]byte, 192)
	for i, q := range codes {
		upper, within := i/128, i%128
		quarter, lane := within/32, within%32
		out[64*upper+lane+32*(quarter%2)] |= byte(q&15) << (4 * (quarter / 2))
		out[128+32*upper+lane] |= byte(q>>4) << (2 * quarter)
	}
	return append(out, packBytes(scales)...)
}

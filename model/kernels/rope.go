package kernels

import (
	"fmt"
	"math"
)

// RopeTables fills cos and sin [len(pos), len(invFreq)] with the cosine and sine of pos*invFreq, times scale (the
// attention factor of YaRN and its kin, 1 otherwise). The angle is rounded to float32 before the cosine as in
// PyTorch, which far positions would otherwise differ from.
func RopeTables(cos, sin []float32, pos []int, invFreq []float32, scale float32) {
	need("RopeTables: cos", len(cos), len(pos)*len(invFreq))
	need("RopeTables: sin", len(sin), len(pos)*len(invFreq))
	i := 0
	for _, p := range pos {
		for _, f := range invFreq {
			s, c := math.Sincos(float64(float32(p) * f))
			cos[i], sin[i] = float32(c)*scale, float32(s)*scale
			i++
		}
	}
}

// Rotate applies the rotary embedding (https://arxiv.org/abs/2104.09864) to one token's row src [heads, d] and
// writes it to dst, which may be src. Element i of a head is paired with element i+d/2 (Llama's half-split form);
// cos and sin are the token's row [d/2] of RopeTables. inverse rotates back by the transpose, which is also the
// gradient.
func Rotate(dst, src []float32, heads, d int, cos, sin []float32, inverse bool) {
	if d%2 != 0 {
		panic(fmt.Sprintf("kernels: Rotate: head size %d is odd", d))
	}
	half := d / 2
	need("Rotate: dst", len(dst), heads*d)
	need("Rotate: src", len(src), heads*d)
	need("Rotate: cos", len(cos), half)
	need("Rotate: sin", len(sin), half)
	sign := float32(1)
	if inverse {
		sign = -1
	}
	rotate(dst, src, heads, half, cos, sin, sign)
}

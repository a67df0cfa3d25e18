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
// writes it to dst, which may be src. cos and sin are the token's row [m] of RopeTables: element i of a head is paired
// with element i+m (Llama's half-split form), and with m below d/2 the elements from 2m on stay as they are (partial
// rotary). inverse rotates back by the transpose, which is also the gradient.
func Rotate(dst, src []float32, heads, d int, cos, sin []float32, inverse bool) {
	if d%2 != 0 {
		panic(fmt.Sprintf("kernels: Rotate: head size %d is odd", d))
	}
	pairs := len(cos)
	need("Rotate: dst", len(dst), heads*d)
	need("Rotate: src", len(src), heads*d)
	need("Rotate: head", d, 2*pairs)
	need("Rotate: sin", len(sin), pairs)
	if pairs == 0 { // a layer that turns nothing
		copy(dst[:heads*d], src)
		return
	}
	sign := float32(1)
	if inverse {
		sign = -1
	}
	if 2*pairs == d {
		rotate(dst, src, heads, pairs, cos, sin, sign)
		return
	}
	for h := range heads {
		in, out := src[h*d:(h+1)*d], dst[h*d:(h+1)*d]
		rotate(out, in, 1, pairs, cos, sin, sign)
		copy(out[2*pairs:], in[2*pairs:])
	}
}

package kernels

import (
	"encoding/binary"
	"math"
)

// The kernels in plain Go: what other processors run, and what the assembly is tested against.

func dotGo(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func axpyGo(alpha float32, x, y []float32) {
	for i, v := range x {
		y[i] += alpha * v
	}
}

func addGo(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func mulGo(dst, x []float32) {
	for i, v := range x {
		dst[i] *= v
	}
}

func scaleGo(alpha float32, x []float32) {
	for i := range x {
		x[i] *= alpha
	}
}

func fakeGo(x []float32, scale, lo, hi float32) {
	for i, v := range x {
		x[i] = scale * Nearest(v/scale, lo, hi)
	}
}

func expGo(dst, x []float32) {
	for i, v := range x {
		dst[i] = Exp1(v)
	}
}

func sigmoidGo(dst, x []float32) {
	for i, v := range x {
		dst[i] = Sigmoid1(v)
	}
}

func logSigmoidGo(dst, x []float32) {
	for i, v := range x {
		dst[i] = LogSigmoid1(v)
	}
}

// maxOfGo returns the largest element of x, NaN aside, or -Inf.
func maxOfGo(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

// expSumGo writes e**(x-shift) to dst and returns its sum, for x <= shift.
func expSumGo(dst, x []float32, shift float32) float32 {
	var sum float32
	for i, v := range x {
		dst[i] = Exp1(v - shift)
		sum += dst[i]
	}
	return sum
}

// sumExpGo returns the sum of e**(x-shift), for x <= shift.
func sumExpGo(x []float32, shift float32) float32 {
	var sum float32
	for _, v := range x {
		sum += Exp1(v - shift)
	}
	return sum
}

// softmaxGradGo writes y*(dy-s) to dx.
func softmaxGradGo(dx, dy, y []float32, s float32) {
	for i, v := range y {
		dx[i] = v * (dy[i] - s)
	}
}

func siluMulGo(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = g * Sigmoid1(g) * up[i]
	}
}

func siluMulGradGo(dGate, dUp, dy, gate, up []float32) {
	for i, g := range gate {
		dGate[i], dUp[i] = gatedGrad(dy[i], up[i], g, Sigmoid1(g), 1)
	}
}

func geluTanhMulGo(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = g * Sigmoid1(geluArg(g)) * up[i]
	}
}

func geluTanhMulGradGo(dGate, dUp, dy, gate, up []float32) {
	for i, g := range gate {
		slope := geluScale * (1 + 3*geluCubic*g*g)
		dGate[i], dUp[i] = gatedGrad(dy[i], up[i], g, Sigmoid1(geluArg(g)), slope)
	}
}

// gatedGrad returns the gradients of g*s*up with respect to g and up, for s = sigmoid(z) and dz/dg = slope.
func gatedGrad(dy, up, g, s, slope float32) (dGate, dUp float32) {
	d := dy * s
	return d * up * (1 + g*(1-s)*slope), d * g
}

const geluCubic = 0.044715

var geluScale = float32(2 * math.Sqrt(2/math.Pi))

// geluArg returns z with gelu(x) = x*sigmoid(z), since (1+tanh(z/2))/2 = sigmoid(z).
func geluArg(x float32) float32 { return geluScale * (x + geluCubic*x*x*x) }

// mulScaledGo writes alpha*x*w to dst.
func mulScaledGo(dst, x, w []float32, alpha float32) {
	for i, v := range x {
		dst[i] = v * alpha * w[i]
	}
}

// dot3Go returns the sum of a*b*c.
func dot3Go(a, b, c []float32) float32 {
	var s float32
	for i, v := range a {
		s += v * b[i] * c[i]
	}
	return s
}

// normGradGo writes alpha*dy*w - beta*x to dx.
func normGradGo(dx, dy, x, w []float32, alpha, beta float32) {
	for i, v := range x {
		dx[i] = alpha*(dy[i]*w[i]) - beta*v
	}
}

// rotateGo turns heads rows of 2*half elements by the angles of cos and sign*sin.
func rotateGo(dst, src []float32, heads, half int, cos, sin []float32, sign float32) {
	d := 2 * half
	for h := range heads {
		in, out := src[h*d:][:d], dst[h*d:][:d]
		for i := range half {
			c, s := cos[i], sign*sin[i]
			x, y := in[i], in[i+half]
			out[i], out[i+half] = x*c-y*s, y*c+x*s
		}
	}
}

func bf16ToF32Go(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = bf16At(src, i)
	}
}

func bf16At(src []byte, i int) float32 {
	return math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
}

func f16sToF32Go(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = f16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

// orAllGo returns the bits that any 8th byte of x has.
func orAllGo(x []byte) byte {
	var v uint64
	for ; len(x) >= 8; x = x[8:] {
		v |= binary.LittleEndian.Uint64(x)
	}
	return byte(v)
}

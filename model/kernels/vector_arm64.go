//go:build !purego

package kernels

const useAVX512 = false

// useVectors is true: every processor of this kind has what the assembly needs.
func useVectors() bool { return true }

func builtinName() string { return "built-in NEON" }

func dot(a, b []float32) float32                     { return dotNEON(a, b) }
func axpy(alpha float32, x, y []float32)             { axpyNEON(alpha, x, y) }
func add(dst, x []float32)                           { addNEON(dst, x) }
func mul(dst, x []float32)                           { mulNEON(dst, x) }
func scale(alpha float32, x []float32)               { scaleNEON(alpha, x) }
func fake(x []float32, scale, lo, hi float32)        { fakeNEON(x, scale, lo, hi) }
func exp(dst, x []float32)                           { expNEON(dst, x) }
func sigmoid(dst, x []float32)                       { sigmoidNEON(dst, x) }
func logSigmoid(dst, x []float32)                    { logSigmoidNEON(dst, x) }
func maxOf(x []float32) float32                      { return maxOfNEON(x) }
func expSum(dst, x []float32, shift float32) float32 { return expSumNEON(dst, x, shift) }
func sumExp(x []float32, shift float32) float32      { return sumExpNEON(x, shift) }
func softmaxGrad(dx, dy, y []float32, s float32)     { softmaxGradNEON(dx, dy, y, s) }
func siluMul(dst, gate, up []float32)                { siluMulNEON(dst, gate, up) }
func siluMulGrad(dGate, dUp, dy, gate, up []float32) { siluMulGradNEON(dGate, dUp, dy, gate, up) }
func geluTanhMul(dst, gate, up []float32)            { geluTanhMulNEON(dst, gate, up) }
func geluTanhMulGrad(dGate, dUp, dy, gate, up []float32) {
	geluTanhMulGradNEON(dGate, dUp, dy, gate, up)
}
func mulScaled(dst, x, w []float32, alpha float32)         { mulScaledNEON(dst, x, w, alpha) }
func dot3(a, b, c []float32) float32                       { return dot3NEON(a, b, c) }
func normGrad(dx, dy, x, w []float32, alpha, beta float32) { normGradNEON(dx, dy, x, w, alpha, beta) }

func rotate(dst, src []float32, heads, half int, cos, sin []float32, sign float32) {
	if half%4 == 0 {
		rotateNEON(dst, src, heads, half, cos, sin, sign)
	} else {
		rotateGo(dst, src, heads, half, cos, sin, sign)
	}
}

func bf16ToF32(dst []float32, src []byte) {
	whole := len(dst) &^ 7
	bf16ToF32NEON(dst[:whole], src)
	bf16ToF32Go(dst[whole:], src[2*whole:])
}

func f16sToF32(dst []float32, src []byte) {
	whole := len(dst) &^ 7
	f16ToF32NEON(dst[:whole], src)
	f16sToF32Go(dst[whole:], src[2*whole:])
}

func f32sToF16(dst []byte, src []float32) {
	whole := len(src) &^ 7
	f32ToF16NEON(dst, src[:whole])
	f32sToF16Go(dst[2*whole:], src[whole:])
}

func widenI8(dst []float32, src []byte) {
	if len(dst) > 0 {
		widenI8NEON(&dst[0], &src[0], len(dst)/codesTogether)
	}
}

func roundI8(dst []byte, src []float32) {
	if len(src) > 0 {
		roundI8NEON(&dst[0], &src[0], len(src)/codesTogether)
	}
}

// orAll returns the bits that any of some bytes of x has, for the time that reading all of them takes.
func orAll(x []byte) byte {
	whole := len(x) &^ 127
	return orAllNEON(x[:whole]) | orAllGo(x[whole:])
}

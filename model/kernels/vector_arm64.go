//go:build !purego

package kernels

// useNEON says whether the assembly runs, which every processor of this kind has the instructions for. Tests turn it off.
var useNEON = true

const useAVX512 = false

func useVectors() bool { return useNEON }

// builtinName names the built-in kernels.
func builtinName() string {
	if useNEON {
		return "built-in NEON"
	}
	return "built-in (portable)"
}

func dot(a, b []float32) float32 {
	if useNEON {
		return dotNEON(a, b)
	}
	return dotGo(a, b)
}

func axpy(alpha float32, x, y []float32) {
	if useNEON {
		axpyNEON(alpha, x, y)
	} else {
		axpyGo(alpha, x, y)
	}
}

func add(dst, x []float32) {
	if useNEON {
		addNEON(dst, x)
	} else {
		addGo(dst, x)
	}
}

func mul(dst, x []float32) {
	if useNEON {
		mulNEON(dst, x)
	} else {
		mulGo(dst, x)
	}
}

func scale(alpha float32, x []float32) {
	if useNEON {
		scaleNEON(alpha, x)
	} else {
		scaleGo(alpha, x)
	}
}

func fake(x []float32, scale, lo, hi float32) {
	if useNEON {
		fakeNEON(x, scale, lo, hi)
	} else {
		fakeGo(x, scale, lo, hi)
	}
}

func exp(dst, x []float32) {
	if useNEON {
		expNEON(dst, x)
	} else {
		expGo(dst, x)
	}
}

func sigmoid(dst, x []float32) {
	if useNEON {
		sigmoidNEON(dst, x)
	} else {
		sigmoidGo(dst, x)
	}
}

func logSigmoid(dst, x []float32) {
	if useNEON {
		logSigmoidNEON(dst, x)
	} else {
		logSigmoidGo(dst, x)
	}
}

func maxOf(x []float32) float32 {
	if useNEON {
		return maxOfNEON(x)
	}
	return maxOfGo(x)
}

func expSum(dst, x []float32, shift float32) float32 {
	if useNEON {
		return expSumNEON(dst, x, shift)
	}
	return expSumGo(dst, x, shift)
}

func sumExp(x []float32, shift float32) float32 {
	if useNEON {
		return sumExpNEON(x, shift)
	}
	return sumExpGo(x, shift)
}

func softmaxGrad(dx, dy, y []float32, s float32) {
	if useNEON {
		softmaxGradNEON(dx, dy, y, s)
	} else {
		softmaxGradGo(dx, dy, y, s)
	}
}

func siluMul(dst, gate, up []float32) {
	if useNEON {
		siluMulNEON(dst, gate, up)
	} else {
		siluMulGo(dst, gate, up)
	}
}

func siluMulGrad(dGate, dUp, dy, gate, up []float32) {
	if useNEON {
		siluMulGradNEON(dGate, dUp, dy, gate, up)
	} else {
		siluMulGradGo(dGate, dUp, dy, gate, up)
	}
}

func geluTanhMul(dst, gate, up []float32) {
	if useNEON {
		geluTanhMulNEON(dst, gate, up)
	} else {
		geluTanhMulGo(dst, gate, up)
	}
}

func geluTanhMulGrad(dGate, dUp, dy, gate, up []float32) {
	if useNEON {
		geluTanhMulGradNEON(dGate, dUp, dy, gate, up)
	} else {
		geluTanhMulGradGo(dGate, dUp, dy, gate, up)
	}
}

func mulScaled(dst, x, w []float32, alpha float32) {
	if useNEON {
		mulScaledNEON(dst, x, w, alpha)
	} else {
		mulScaledGo(dst, x, w, alpha)
	}
}

func dot3(a, b, c []float32) float32 {
	if useNEON {
		return dot3NEON(a, b, c)
	}
	return dot3Go(a, b, c)
}

func normGrad(dx, dy, x, w []float32, alpha, beta float32) {
	if useNEON {
		normGradNEON(dx, dy, x, w, alpha, beta)
	} else {
		normGradGo(dx, dy, x, w, alpha, beta)
	}
}

func rotate(dst, src []float32, heads, half int, cos, sin []float32, sign float32) {
	if useNEON && half%4 == 0 {
		rotateNEON(dst, src, heads, half, cos, sin, sign)
	} else {
		rotateGo(dst, src, heads, half, cos, sin, sign)
	}
}

func bf16ToF32(dst []float32, src []byte) {
	whole := 0
	if useNEON {
		whole = len(dst) &^ 7
		bf16ToF32NEON(dst[:whole], src)
	}
	bf16ToF32Go(dst[whole:], src[2*whole:])
}

func f16sToF32(dst []float32, src []byte) {
	whole := 0
	if useNEON {
		whole = len(dst) &^ 7
		f16ToF32NEON(dst[:whole], src)
	}
	f16sToF32Go(dst[whole:], src[2*whole:])
}

func f32sToF16(dst []byte, src []float32) {
	whole := 0
	if useNEON {
		whole = len(src) &^ 7
		f32ToF16NEON(dst, src[:whole])
	}
	f32sToF16Go(dst[2*whole:], src[whole:])
}

func widenI8(dst []float32, src []byte) {
	if useNEON && len(dst) > 0 {
		widenI8NEON(&dst[0], &src[0], len(dst)/codesTogether)
	} else {
		widenI8Go(dst, src)
	}
}

// orAll returns the bits that any of some bytes of x has, for the time that reading all of them takes.
func orAll(x []byte) byte {
	if useNEON {
		return orAllNEON(x[:len(x)&^127])
	}
	return orAllGo(x)
}

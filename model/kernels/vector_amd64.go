//go:build !purego

package kernels

import "golang.org/x/sys/cpu"

// useAVX2 says whether the processor runs the assembly, useAVX512 whether it runs that with the widest vectors, too.
var useAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C

var useAVX512 = useAVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW

// useVectors says whether the kernels in assembly compute.
func useVectors() bool { return useAVX2 }

// builtinName names the built-in kernels.
func builtinName() string {
	switch {
	case useAVX512:
		return "built-in AVX-512"
	case useAVX2:
		return "built-in AVX2"
	default:
		return "built-in (portable)"
	}
}

func dot(a, b []float32) float32 {
	if useAVX2 {
		return dotAVX2(a, b)
	}
	return dotGo(a, b)
}

func axpy(alpha float32, x, y []float32) {
	if useAVX2 {
		axpyAVX2(alpha, x, y)
	} else {
		axpyGo(alpha, x, y)
	}
}

func add(dst, x []float32) {
	if useAVX2 {
		addAVX2(dst, x)
	} else {
		addGo(dst, x)
	}
}

func mul(dst, x []float32) {
	if useAVX2 {
		mulAVX2(dst, x)
	} else {
		mulGo(dst, x)
	}
}

func scale(alpha float32, x []float32) {
	if useAVX2 {
		scaleAVX2(alpha, x)
	} else {
		scaleGo(alpha, x)
	}
}

func fake(x []float32, scale, lo, hi float32) {
	if useAVX2 {
		fakeAVX2(x, scale, lo, hi)
	} else {
		fakeGo(x, scale, lo, hi)
	}
}

func exp(dst, x []float32) {
	switch {
	case useAVX512:
		expAVX512(dst, x)
	case useAVX2:
		expAVX2(dst, x)
	default:
		expGo(dst, x)
	}
}

func sigmoid(dst, x []float32) {
	switch {
	case useAVX512:
		sigmoidAVX512(dst, x)
	case useAVX2:
		sigmoidAVX2(dst, x)
	default:
		sigmoidGo(dst, x)
	}
}

func logSigmoid(dst, x []float32) {
	switch {
	case useAVX512:
		logSigmoidAVX512(dst, x)
	case useAVX2:
		logSigmoidAVX2(dst, x)
	default:
		logSigmoidGo(dst, x)
	}
}

func maxOf(x []float32) float32 {
	switch {
	case useAVX512:
		return maxOfAVX512(x)
	case useAVX2:
		return maxOfAVX2(x)
	default:
		return maxOfGo(x)
	}
}

func expSum(dst, x []float32, shift float32) float32 {
	switch {
	case useAVX512:
		return expSumAVX512(dst, x, shift)
	case useAVX2:
		return expSumAVX2(dst, x, shift)
	default:
		return expSumGo(dst, x, shift)
	}
}

func sumExp(x []float32, shift float32) float32 {
	switch {
	case useAVX512:
		return sumExpAVX512(x, shift)
	case useAVX2:
		return sumExpAVX2(x, shift)
	default:
		return sumExpGo(x, shift)
	}
}

func softmaxGrad(dx, dy, y []float32, s float32) {
	if useAVX2 {
		softmaxGradAVX2(dx, dy, y, s)
	} else {
		softmaxGradGo(dx, dy, y, s)
	}
}

func siluMul(dst, gate, up []float32) {
	switch {
	case useAVX512:
		siluMulAVX512(dst, gate, up)
	case useAVX2:
		siluMulAVX2(dst, gate, up)
	default:
		siluMulGo(dst, gate, up)
	}
}

func siluMulGrad(dGate, dUp, dy, gate, up []float32) {
	switch {
	case useAVX512:
		siluMulGradAVX512(dGate, dUp, dy, gate, up)
	case useAVX2:
		siluMulGradAVX2(dGate, dUp, dy, gate, up)
	default:
		siluMulGradGo(dGate, dUp, dy, gate, up)
	}
}

func geluTanhMul(dst, gate, up []float32) {
	switch {
	case useAVX512:
		geluTanhMulAVX512(dst, gate, up)
	case useAVX2:
		geluTanhMulAVX2(dst, gate, up)
	default:
		geluTanhMulGo(dst, gate, up)
	}
}

func geluTanhMulGrad(dGate, dUp, dy, gate, up []float32) {
	switch {
	case useAVX512:
		geluTanhMulGradAVX512(dGate, dUp, dy, gate, up)
	case useAVX2:
		geluTanhMulGradAVX2(dGate, dUp, dy, gate, up)
	default:
		geluTanhMulGradGo(dGate, dUp, dy, gate, up)
	}
}

func mulScaled(dst, x, w []float32, alpha float32) {
	if useAVX2 {
		mulScaledAVX2(dst, x, w, alpha)
	} else {
		mulScaledGo(dst, x, w, alpha)
	}
}

func dot3(a, b, c []float32) float32 {
	if useAVX2 {
		return dot3AVX2(a, b, c)
	}
	return dot3Go(a, b, c)
}

func normGrad(dx, dy, x, w []float32, alpha, beta float32) {
	if useAVX2 {
		normGradAVX2(dx, dy, x, w, alpha, beta)
	} else {
		normGradGo(dx, dy, x, w, alpha, beta)
	}
}

func rotate(dst, src []float32, heads, half int, cos, sin []float32, sign float32) {
	if useAVX2 && half%8 == 0 {
		rotateAVX2(dst, src, heads, half, cos, sin, sign)
	} else {
		rotateGo(dst, src, heads, half, cos, sin, sign)
	}
}

func bf16ToF32(dst []float32, src []byte) {
	whole := 0
	if useAVX2 {
		whole = len(dst) &^ 7
		bf16ToF32AVX2(dst[:whole], src)
	}
	bf16ToF32Go(dst[whole:], src[2*whole:])
}

func f16sToF32(dst []float32, src []byte) {
	whole := 0
	if useAVX2 {
		whole = len(dst) &^ 7
		f16ToF32AVX2(dst[:whole], src)
	}
	f16sToF32Go(dst[whole:], src[2*whole:])
}

func f32sToF16(dst []byte, src []float32) {
	whole := 0
	if useAVX2 {
		whole = len(src) &^ 7
		f32ToF16AVX2(dst, src[:whole])
	}
	f32sToF16Go(dst[2*whole:], src[whole:])
}

func widenI8(dst []float32, src []byte) {
	if useAVX2 && len(dst) > 0 {
		widenI8AVX2(&dst[0], &src[0], len(dst)/codesTogether)
	} else {
		widenI8Go(dst, src)
	}
}

func roundI8(dst []byte, src []float32) {
	if useAVX2 && len(src) > 0 {
		roundI8AVX2(&dst[0], &src[0], len(src)/codesTogether)
	} else {
		roundI8Go(dst, src)
	}
}

// orAll returns the bits that any of some bytes of x has, for the time that reading all of them takes.
func orAll(x []byte) byte {
	if useAVX2 {
		return orAllAVX2(x[:len(x)&^127])
	}
	return orAllGo(x)
}

package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// exp emits e**x, exact to one unit in the last place. NaN stays NaN.
//
// x = n*ln2 + r with |r| <= ln2/2 gives 2**n * e**r, with the polynomial of the Cephes library's expf for e**r. With
// flush, for x <= 0 alone, results below the smallest normal number are zero; without it 2**n is applied in two
// halves, so that the result may be subnormal or infinite.
func exp(x VecVirtual, flush bool) VecVirtual {
	lowest := float32(-104) // e**-104 rounds to zero
	if flush {
		lowest = -126 * math.Ln2
	}
	v := clamp(x, lowest, 89) // e**89 is infinite
	n := YMM()
	VMULPS(constant(1/math.Ln2), v, n)
	VROUNDPS(Imm(0), n, n)
	VFNMADD231PS(constant(0.693359375), n, v) // ln2 in two parts: n times the first is exact
	VFNMADD231PS(constant(-2.12194440e-4), n, v)
	p := polynomial(v, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	sq := YMM()
	VMULPS(v, v, sq)
	VFMADD213PS(v, sq, p)
	VADDPS(constant(1), p, p)
	VCVTPS2DQ(n, n)
	if flush {
		VMULPS(powerOfTwo(n), p, p)
		keep := YMM()
		VCMPPS(Imm(notLess), constant(lowest), x, keep)
		VANDPS(keep, p, p)
		return p
	}
	half := YMM()
	VPSRAD(Imm(1), n, half)
	VPSUBD(half, n, n)
	VMULPS(powerOfTwo(half), p, p)
	VMULPS(powerOfTwo(n), p, p)
	return p
}

// notLess is the comparison that holds for NaN too.
const notLess = 5

// clamp emits min(max(x, lo), hi). NaN stays NaN.
func clamp(x VecVirtual, lo, hi float32) VecVirtual {
	v, limit := YMM(), YMM()
	VMOVUPS(constant(hi), limit)
	VMINPS(x, limit, v) // these return their first operand if either is NaN
	VMOVUPS(constant(lo), limit)
	VMAXPS(v, limit, v)
	return v
}

// polynomial emits the polynomial in x with coefficients c, highest power first.
func polynomial(x VecVirtual, c ...float32) VecVirtual {
	p := YMM()
	VMOVUPS(constant(c[0]), p)
	for _, v := range c[1:] {
		VFMADD213PS(constant(v), x, p)
	}
	return p
}

// powerOfTwo emits 2**n for integer n by writing the exponent. It overwrites n.
func powerOfTwo(n VecVirtual) VecVirtual {
	VPADDD(constantBits(127), n, n)
	VPSLLD(Imm(23), n, n)
	return n
}

// expMinusAbs emits e**-|x|.
func expMinusAbs(x VecVirtual) VecVirtual {
	v := YMM()
	VORPS(constantBits(1<<31), x, v)
	return exp(v, false)
}

// sigmoid emits 1/(1+e**-x), or for negative x e**x/(1+e**x), which keeps its digits.
func sigmoid(x VecVirtual) VecVirtual {
	e := expMinusAbs(x)
	s := YMM()
	VMOVUPS(constant(1), s)
	VBLENDVPS(x, e, s, s)
	VADDPS(constant(1), e, e)
	VDIVPS(e, s, s)
	return s
}

// logSigmoid emits min(x, 0) - log(1+t) with t = e**-|x|. With u = 2t/(2+t), log(1+t) = 2*atanh(u/2), whose series
// in u converges fast since u <= 2/3.
func logSigmoid(x VecVirtual) VecVirtual {
	t := expMinusAbs(x)
	u, z := YMM(), YMM()
	VADDPS(t, t, u)
	VADDPS(constant(2), t, t)
	VDIVPS(t, u, u)
	VMULPS(u, u, z)
	var c []float32
	for i := 7; i >= 1; i-- {
		c = append(c, float32(math.Pow(0.25, float64(i))/float64(2*i+1)))
	}
	p := polynomial(z, c...)
	VMULPS(z, p, p)
	VFMADD213PS(u, u, p)
	v := YMM()
	VXORPS(v, v, v)
	VMINPS(x, v, v)
	VSUBPS(p, v, v)
	return v
}

func expKernels() {
	mapping("expAVX2", "expAVX2 writes e**x to dst.", func(x VecVirtual) VecVirtual { return exp(x, false) })
	mapping("sigmoidAVX2", "sigmoidAVX2 writes 1/(1+e**-x) to dst.", sigmoid)
	mapping("logSigmoidAVX2", "logSigmoidAVX2 writes log(1/(1+e**-x)) to dst.", logSigmoid)

	function("maxOfAVX2", "(x []float32) float32", "maxOfAVX2 returns the largest element of x, NaN aside, or -Inf.")
	x, n := pointer("x"), length("x")
	acc := make([]VecVirtual, 4)
	for i := range acc {
		acc[i] = YMM()
		VMOVUPS(constant(float32(math.Inf(-1))), acc[i])
	}
	eachVector(n, len(acc), func(at access, u int) {
		v := at.load(x)
		if at.mask != nil {
			VBLENDVPS(at.mask, v, acc[u], v)
		}
		VMAXPS(acc[u], v, acc[u]) // acc where v is NaN
	})
	returnFirst(reduce(acc, VMAXPS))

	expSum("expSumAVX2", "(dst, x []float32, shift float32) float32",
		"expSumAVX2 writes e**(x-shift) to dst and returns its sum, for x <= shift.", true)
	expSum("sumExpAVX2", "(x []float32, shift float32) float32",
		"sumExpAVX2 returns the sum of e**(x-shift), for x <= shift.", false)
}

// mapping emits a kernel that writes f(x) to dst.
func mapping(name, doc string, f func(x VecVirtual) VecVirtual) {
	function(name, "(dst, x []float32)", doc)
	dst, x := pointer("dst"), pointer("x")
	eachVector(length("x"), 1, func(at access, _ int) { at.store(f(at.load(x)), dst) })
	finish()
}

func expSum(name, sig, doc string, store bool) {
	function(name, sig, doc)
	x, n, shift, acc := pointer("x"), length("x"), broadcast("shift"), zeros(2)
	var dst GPVirtual
	if store {
		dst = pointer("dst")
	}
	eachVector(n, len(acc), func(at access, u int) {
		v := at.load(x)
		VSUBPS(shift, v, v)
		v = exp(v, true)
		if at.mask != nil {
			VANDPS(at.mask, v, v)
		}
		if store {
			at.store(v, dst)
		}
		VADDPS(v, acc[u], acc[u])
	})
	returnFirst(sum(acc))
}

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
	n := isa.new()
	mulPS.with(1/math.Ln2, v, n)
	if wide() {
		VRNDSCALEPS(Imm(0), n, n)
	} else {
		VROUNDPS(Imm(0), n, n)
	}
	fnmadd231PS.with(0.693359375, n, v) // ln2 in two parts: n times the first is exact
	fnmadd231PS.with(-2.12194440e-4, n, v)
	p := polynomial(v, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	sq := isa.new()
	VMULPS(v, v, sq)
	VFMADD213PS(v, sq, p)
	addPS.with(1, p, p)
	timesPowerOfTwo(p, n, flush)
	if flush {
		zeroBelow(lowest, x, p)
	}
	return p
}

// timesPowerOfTwo multiplies p by 2**n for whole n, which it overwrites. If normal, 2**n and the result are.
func timesPowerOfTwo(p, n VecVirtual, normal bool) {
	if wide() {
		VSCALEFPS(n, p, p) // rounds once, as the products do: the first one is exact
		return
	}
	VCVTPS2DQ(n, n)
	if !normal {
		half := YMM()
		VPSRAD(Imm(1), n, half)
		VPSUBD(half, n, n)
		VMULPS(powerOfTwo(half), p, p)
	}
	VMULPS(powerOfTwo(n), p, p)
}

// zeroBelow makes zeros of the lanes of p where x is less than limit.
func zeroBelow(limit float32, x, p VecVirtual) {
	if wide() {
		keep := K()
		VCMPPS_BCST(Imm(notLess), constant(limit), x, keep)
		VMOVAPS_Z(p, keep, p)
		return
	}
	keep := YMM()
	VCMPPS(Imm(notLess), constant(limit), x, keep)
	VANDPS(keep, p, p)
}

// notLess is the comparison that holds for NaN too.
const notLess = 5

// clamp emits min(max(x, lo), hi). NaN stays NaN.
func clamp(x VecVirtual, lo, hi float32) VecVirtual {
	v := isa.new()
	VMINPS(x, filled(hi), v) // these return their first operand if either is NaN
	VMAXPS(v, filled(lo), v)
	return v
}

// polynomial emits the polynomial in x with coefficients c, highest power first.
func polynomial(x VecVirtual, c ...float32) VecVirtual {
	p := filled(c[0])
	for _, v := range c[1:] {
		fmadd213PS.with(v, x, p)
	}
	return p
}

// powerOfTwo emits 2**n for integer n by writing the exponent. It overwrites n.
func powerOfTwo(n VecVirtual) VecVirtual {
	addInt.withBits(127, n, n)
	VPSLLD(Imm(23), n, n)
	return n
}

// expMinusAbs emits e**-|x|.
func expMinusAbs(x VecVirtual) VecVirtual {
	v := isa.new()
	orBits.withBits(1<<31, x, v)
	return exp(v, false)
}

// sigmoid emits 1/(1+e**-x), or for negative x e**x/(1+e**x), which keeps its digits.
func sigmoid(x VecVirtual) VecVirtual {
	e := expMinusAbs(x)
	s := filled(1)
	if wide() {
		negative := K()
		VPTESTMD_BCST(constantBits(1<<31), x, negative)
		VMOVAPS(e, negative, s)
	} else {
		VBLENDVPS(x, e, s, s)
	}
	addPS.with(1, e, e)
	VDIVPS(e, s, s)
	return s
}

// logSigmoid emits min(x, 0) - log(1+t) with t = e**-|x|. With u = 2t/(2+t), log(1+t) = 2*atanh(u/2), whose series
// in u converges fast since u <= 2/3.
func logSigmoid(x VecVirtual) VecVirtual {
	t := expMinusAbs(x)
	u, z := isa.new(), isa.new()
	VADDPS(t, t, u)
	addPS.with(2, t, t)
	VDIVPS(t, u, u)
	VMULPS(u, u, z)
	var c []float32
	for i := 7; i >= 1; i-- {
		c = append(c, float32(math.Pow(0.25, float64(i))/float64(2*i+1)))
	}
	p := polynomial(z, c...)
	VMULPS(z, p, p)
	VFMADD213PS(u, u, p)
	v := zero()
	VMINPS(x, v, v)
	VSUBPS(p, v, v)
	return v
}

func expKernels() {
	mapping("exp", "e**x", func(x VecVirtual) VecVirtual { return exp(x, false) })
	mapping("sigmoid", "1/(1+e**-x)", sigmoid)
	mapping("logSigmoid", "log(1/(1+e**-x))", logSigmoid)
	maxOf()
	expSum("expSum", "(dst, x []float32, shift float32) float32",
		"writes e**(x-shift) to dst and returns its sum, for x <= shift.", true)
	expSum("sumExp", "(x []float32, shift float32) float32",
		"returns the sum of e**(x-shift), for x <= shift.", false)
}

func maxOf() {
	name := "maxOf" + isa.name
	function(name, "(x []float32) float32", name+" returns the largest element of x, NaN aside, or -Inf.")
	x, n := pointer("x"), length("x")
	acc := make([]VecVirtual, 4*lanes/isa.lanes)
	for i := range acc {
		acc[i] = filled(float32(math.Inf(-1)))
	}
	eachVector(n, len(acc), func(at access, u int) {
		VMAXPS(acc[u], at.loadOver(x, acc[u]), acc[u]) // acc where x is NaN
	})
	returnFirst(reduce(acc, VMAXPS))
}

// mapping emits a kernel that writes f(x) to dst.
func mapping(name, of string, f func(x VecVirtual) VecVirtual) {
	name += isa.name
	function(name, "(dst, x []float32)", name+" writes "+of+" to dst.")
	dst, x := pointer("dst"), pointer("x")
	eachVector(length("x"), 1, func(at access, _ int) { at.store(f(at.load(x)), dst) })
	finish()
}

// expSum emits the sum of exponentials, in an order that both instruction sets share.
func expSum(name, sig, doc string, store bool) {
	name += isa.name
	function(name, sig, name+" "+doc)
	x, n, shift, acc := pointer("x"), length("x"), broadcast("shift"), zeros(2*lanes/isa.lanes)
	var dst GPVirtual
	if store {
		dst = pointer("dst")
	}
	eachVector(n, len(acc), func(at access, u int) {
		v := at.load(x)
		VSUBPS(shift, v, v)
		v = exp(v, true)
		at.clear(v)
		if store {
			at.store(v, dst)
		}
		if wide() && at.mask != nil { // both halves go where the first ones of AVX2 go
			lo := YMM()
			VMOVAPS(v.AsY(), lo)
			VADDPS(lo.AsZ(), acc[u], acc[u])
			v = upperHalf(v).AsZ().(VecVirtual)
		}
		VADDPS(v, acc[u], acc[u])
	})
	returnFirst(sum(acc))
}

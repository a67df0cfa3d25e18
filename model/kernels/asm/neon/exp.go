package main

import "math"

// The least x whose e**x is not zero, as it is rounded or as a normal number, and the greatest that matters: e**89 is
// infinite.
const (
	lowest       = -104
	lowestNormal = -126 * math.Ln2
	highest      = 89
)

// ln2 in two parts: a whole number times the first is exact.
const ln2Upper, ln2Lower = 0.693359375, -2.12194440e-4

// expCoefficients are those of the Cephes library's expf, highest power first.
var expCoefficients = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

// useExp loads what exp uses.
func (k *kernel) useExp(flush bool) {
	k.use(append([]float32{floor(flush), highest, 1 / math.Ln2, ln2Upper, ln2Lower, 1}, expCoefficients...)...)
	k.useBits(127, 1<<31)
}

func floor(flush bool) float32 {
	if flush {
		return lowestNormal
	}
	return lowest
}

// exp emits e**x, exact to one unit in the last place, as the kernels for amd64 compute it: see there. With flush, for x
// <= 0 alone, results below the smallest normal number are zero.
func (k *kernel) exp(x vec, flush bool) vec {
	v, n := k.filled(highest), k.filled(floor(flush))
	k.min(x, v, v)
	k.max(v, n, v)
	k.mulLane(v, k.constant(1/math.Ln2), n)
	k.round(n, n)
	k.fmsLane(n, k.constant(ln2Upper), v)
	k.fmsLane(n, k.constant(ln2Lower), v)
	p := k.polynomial(v, expCoefficients...)
	square, one := k.vec(), k.filled(1)
	k.mul(v, v, square)
	k.fma(square, p, v)
	k.add(v, one, p)
	k.toInt(n, n)
	if flush {
		k.mul(p, k.powerOfTwo(n), p)
		below := k.filled(floor(flush))
		k.greater(below, x, below)
		k.clear(p, below, p)
	} else {
		half := k.vec()
		k.halve(n, half)
		k.subInt(n, half, n)
		k.mul(p, k.powerOfTwo(half), p)
		k.mul(p, k.powerOfTwo(n), p)
		k.free(half)
	}
	k.free(v, n, square, one)
	return p
}

// polynomial emits the polynomial in x with coefficients c, highest power first.
func (k *kernel) polynomial(x vec, c ...float32) vec {
	p := k.filled(c[0])
	for _, c := range c[1:] {
		next := k.filled(c)
		k.fma(p, x, next)
		k.free(p)
		p = next
	}
	return p
}

// powerOfTwo emits 2**n for integer n by writing the exponent. It overwrites n.
func (k *kernel) powerOfTwo(n vec) vec {
	bias := k.filledBits(127)
	k.addInt(n, bias, n)
	k.shift(n, 23, n)
	k.free(bias)
	return n
}

// expMinusAbs emits e**-|x|.
func (k *kernel) expMinusAbs(x vec) vec {
	v := k.filledBits(1 << 31)
	k.or(x, v, v)
	e := k.exp(v, false)
	k.free(v)
	return e
}

// sigmoid emits 1/(1+e**-x), or for negative x e**x/(1+e**x), which keeps its digits.
func (k *kernel) sigmoid(x vec) vec {
	e, s, one, negative := k.expMinusAbs(x), k.filled(1), k.filled(1), k.vec()
	k.signs(x, negative)
	k.choose(e, negative, s)
	k.add(e, one, e)
	k.div(s, e, s)
	k.free(e, one, negative)
	return s
}

func logSigmoidCoefficients() []float32 {
	var c []float32
	for i := 7; i >= 1; i-- {
		c = append(c, float32(math.Pow(0.25, float64(i))/float64(2*i+1)))
	}
	return c
}

// logSigmoid emits min(x, 0) - log(1+t) with t = e**-|x|, as on amd64.
func (k *kernel) logSigmoid(x vec) vec {
	t, u, z, two := k.expMinusAbs(x), k.vec(), k.vec(), k.filled(2)
	k.add(t, t, u)
	k.add(t, two, t)
	k.div(u, t, u)
	k.mul(u, u, z)
	p := k.polynomial(z, logSigmoidCoefficients()...)
	k.mul(p, z, p)
	k.move(u, t)
	k.fma(p, u, t)
	k.zero(z)
	k.min(x, z, z)
	k.sub(z, t, z)
	return z
}

func expKernels() {
	mapping("exp", "e**x", nil, func(k *kernel, x vec) vec { return k.exp(x, false) })
	mapping("sigmoid", "1/(1+e**-x)", nil, (*kernel).sigmoid)
	mapping("logSigmoid", "log(1/(1+e**-x))", append(logSigmoidCoefficients(), 2), (*kernel).logSigmoid)
	expSum("expSumNEON", "(dst, x []float32, shift float32) float32",
		"expSumNEON writes e**(x-shift) to dst and returns its sum, for x <= shift.", true)
	expSum("sumExpNEON", "(x []float32, shift float32) float32",
		"sumExpNEON returns the sum of e**(x-shift), for x <= shift.", false)
}

// mapping emits a kernel that writes f(x) to dst.
func mapping(name, of string, constants []float32, f func(k *kernel, x vec) vec) {
	name += "NEON"
	k := function(name, "(dst, x []float32)", name+" writes "+of+" to dst.")
	dst, x := k.pointer("dst"), k.pointer("x")
	k.useExp(false)
	k.use(constants...)
	k.eachVector(k.length("x"), 1, []gp{dst, x}, func(at access, _ int) { at.store(f(k, at.load(x)), dst) })
	k.emit("RET")
}

// expSum emits the sum of exponentials.
func expSum(name, sig, doc string, store bool) {
	k := function(name, sig, doc)
	x, shift, acc := k.pointer("x"), k.broadcast("shift"), k.zeros(4)
	k.useExp(true)
	pointers := []gp{x}
	if store {
		pointers = append(pointers, k.pointer("dst"))
	}
	k.eachVector(k.length("x"), 2, pointers, func(at access, i int) {
		v := at.load(x)
		k.sub(v, shift, v)
		e := k.exp(v, true)
		at.clear(e)
		if store {
			at.store(e, pointers[1])
		}
		k.add(acc[i], e, acc[i])
	})
	k.returnFirst(k.sum(acc))
}

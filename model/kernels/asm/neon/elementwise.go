package main

import "math"

func elementwiseKernels() {
	k := function("dotNEON", "(a, b []float32) float32", "dotNEON returns the sum of a*b over len(a) elements.")
	a, b, n, acc := k.pointer("a"), k.pointer("b"), k.length("a"), k.zeros(16)
	k.eachVector(n, 8, []gp{a, b}, func(at access, i int) { k.fma(at.load(a), at.load(b), acc[i]) })
	k.returnFirst(k.sum(acc))

	k = function("axpyNEON", "(alpha float32, x, y []float32)", "axpyNEON adds alpha*x to y over len(x) elements.")
	alpha, x, y := k.scalar("alpha"), k.pointer("x"), k.pointer("y")
	k.eachVector(k.length("x"), 4, []gp{x, y}, func(at access, _ int) {
		v := at.load(y)
		k.fmaLane(at.load(x), lane{alpha, 0}, v)
		at.store(v, y)
	})
	k.emit("RET")

	combine("addNEON", "addNEON adds x to dst over len(x) elements.", (*kernel).add)
	combine("mulNEON", "mulNEON multiplies dst by x over len(x) elements.", (*kernel).mul)

	k = function("scaleNEON", "(alpha float32, x []float32)", "scaleNEON multiplies x by alpha.")
	alpha, x = k.scalar("alpha"), k.pointer("x")
	k.eachVector(k.length("x"), 4, []gp{x}, func(at access, _ int) {
		v := at.load(x)
		k.mulLane(v, lane{alpha, 0}, v)
		at.store(v, x)
	})
	k.emit("RET")

	maxOf()
}

// combine emits a kernel that merges x into dst by op.
func combine(name, doc string, op func(k *kernel, n, m, d vec)) {
	k := function(name, "(dst, x []float32)", doc)
	dst, x := k.pointer("dst"), k.pointer("x")
	k.eachVector(k.length("x"), 4, []gp{dst, x}, func(at access, _ int) {
		v := at.load(dst)
		op(k, v, at.load(x), v)
		at.store(v, dst)
	})
	k.emit("RET")
}

// roundingKernel emits the kernel of rounding to an encoding. Limits are chosen by comparisons, by which NaN and the sign
// of 0 come through.
func roundingKernel() {
	k := function("fakeNEON", "(x []float32, scale, lo, hi float32)", "fakeNEON replaces x by scale times the nearest whole number to x/scale from lo to hi.")
	x, scale, lo, hi := k.pointer("x"), k.broadcast("scale"), k.broadcast("lo"), k.broadcast("hi")
	k.eachVector(k.length("x"), 4, []gp{x}, func(at access, _ int) {
		v, beyond := at.load(x), k.vec()
		k.div(v, scale, v)
		k.greater(lo, v, beyond)
		k.choose(lo, beyond, v)
		k.greater(v, hi, beyond)
		k.choose(hi, beyond, v)
		k.round(v, v)
		k.mul(v, scale, v)
		at.store(v, x)
	})
	k.emit("RET")
}

func maxOf() {
	k := function("maxOfNEON", "(x []float32) float32", "maxOfNEON returns the largest element of x, NaN aside, or -Inf.")
	x, acc := k.pointer("x"), k.vecsOf(8)
	k.use(float32(math.Inf(-1)))
	for _, v := range acc {
		k.dup(v, k.constant(float32(math.Inf(-1))))
	}
	take := func(n, d vec) { // n where it is greater, d where n is NaN
		defer k.keep()()
		greater := k.vec()
		k.greater(n, d, greater)
		k.choose(n, greater, d)
	}
	k.eachVector(k.length("x"), 4, []gp{x}, func(at access, i int) { take(at.loadOver(x, acc[i]), acc[i]) })
	k.fold(acc, take)
	for _, bytes := range []int{8, 4} {
		t := k.vec()
		k.rotated(acc[0], bytes, t)
		take(t, acc[0])
	}
	k.returnFirst(acc[0])
}

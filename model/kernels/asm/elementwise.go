package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func elementwiseKernels() {
	function("dotAVX2", "(a, b []float32) float32", "dotAVX2 returns the sum of a*b over len(a) elements.")
	a, b, acc := pointer("a"), pointer("b"), zeros(8)
	eachVector(length("a"), len(acc), func(at access, u int) {
		if at.mask == nil {
			VFMADD231PS(at.at(b), at.load(a), acc[u])
		} else {
			VFMADD231PS(at.load(b), at.load(a), acc[u])
		}
	})
	returnFirst(sum(acc))

	function("axpyAVX2", "(alpha float32, x, y []float32)", "axpyAVX2 adds alpha*x to y over len(x) elements.")
	alpha, x, y := broadcast("alpha"), pointer("x"), pointer("y")
	eachVector(length("x"), 4, func(at access, _ int) {
		v := at.load(y)
		VFMADD231PS(at.load(x), alpha, v)
		at.store(v, y)
	})
	finish()

	combine("addAVX2", "addAVX2 adds x to dst over len(x) elements.", func(v, x VecVirtual) { VADDPS(x, v, v) })
	combine("mulAVX2", "mulAVX2 multiplies dst by x over len(x) elements.", func(v, x VecVirtual) { VMULPS(x, v, v) })

	function("scaleAVX2", "(alpha float32, x []float32)", "scaleAVX2 multiplies x by alpha.")
	alpha, x = broadcast("alpha"), pointer("x")
	eachVector(length("x"), 4, func(at access, _ int) {
		v := at.load(x)
		VMULPS(alpha, v, v)
		at.store(v, x)
	})
	finish()
}

// roundingKernel emits the kernel of rounding to an encoding. The operands of minimum and maximum are in the order in
// which NaN and the sign of 0 come through.
func roundingKernel() {
	function("fakeAVX2", "(x []float32, scale, lo, hi float32)", "fakeAVX2 replaces x by scale times the nearest whole number to x/scale from lo to hi.")
	x, scale, lo, hi := pointer("x"), broadcast("scale"), broadcast("lo"), broadcast("hi")
	eachVector(length("x"), 4, func(at access, _ int) {
		v := at.load(x)
		VDIVPS(scale, v, v)
		VMAXPS(v, lo, v)
		VMINPS(v, hi, v)
		VROUNDPS(Imm(8), v, v) // to even, and not a word of what is inexact
		VMULPS(scale, v, v)
		at.store(v, x)
	})
	finish()
}

// combine emits a kernel that merges x into dst by op.
func combine(name, doc string, op func(v, x VecVirtual)) {
	function(name, "(dst, x []float32)", doc)
	dst, x := pointer("dst"), pointer("x")
	eachVector(length("x"), 4, func(at access, _ int) {
		v := at.load(dst)
		op(v, at.load(x))
		at.store(v, dst)
	})
	finish()
}

package main

import (
	. "github.com/mmcloughlin/avo/build"
)

func normKernels() {
	function("mulScaledAVX2", "(dst, x, w []float32, alpha float32)", "mulScaledAVX2 writes alpha*x*w to dst over len(x) elements.")
	dst, x, w, alpha := pointer("dst"), pointer("x"), pointer("w"), broadcast("alpha")
	eachVector(length("x"), 2, func(at access, _ int) {
		v := at.load(x)
		VMULPS(alpha, v, v)
		VMULPS(at.load(w), v, v)
		at.store(v, dst)
	})
	finish()

	function("dot3AVX2", "(a, b, c []float32) float32", "dot3AVX2 returns the sum of a*b*c over len(a) elements.")
	a, b, c, acc := pointer("a"), pointer("b"), pointer("c"), zeros(4)
	eachVector(length("a"), len(acc), func(at access, u int) {
		v := at.load(a)
		VMULPS(at.load(b), v, v)
		VFMADD231PS(at.load(c), v, acc[u])
	})
	returnFirst(sum(acc))

	function("normGradAVX2", "(dx, dy, x, w []float32, alpha, beta float32)",
		"normGradAVX2 writes alpha*dy*w - beta*x to dx over len(x) elements.")
	dx, dy, x, w := pointer("dx"), pointer("dy"), pointer("x"), pointer("w")
	alpha, beta := broadcast("alpha"), broadcast("beta")
	eachVector(length("x"), 2, func(at access, _ int) {
		v, p := at.load(dy), at.load(x)
		VMULPS(at.load(w), v, v)
		VMULPS(beta, p, p)
		VFMSUB213PS(p, alpha, v)
		at.store(v, dx)
	})
	finish()

	function("softmaxGradAVX2", "(dx, dy, y []float32, s float32)", "softmaxGradAVX2 writes y*(dy-s) to dx over len(y) elements.")
	dx, dy, y, s := pointer("dx"), pointer("dy"), pointer("y"), broadcast("s")
	eachVector(length("y"), 2, func(at access, _ int) {
		v := at.load(dy)
		VSUBPS(s, v, v)
		VMULPS(at.load(y), v, v)
		at.store(v, dx)
	})
	finish()
}

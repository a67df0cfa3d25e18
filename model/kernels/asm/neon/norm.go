package main

func normKernels() {
	k := function("mulScaledNEON", "(dst, x, w []float32, alpha float32)", "mulScaledNEON writes alpha*x*w to dst over len(x) elements.")
	dst, x, w, alpha := k.pointer("dst"), k.pointer("x"), k.pointer("w"), k.scalar("alpha")
	k.eachVector(k.length("x"), 2, []gp{dst, x, w}, func(at access, _ int) {
		v := at.load(x)
		k.mulLane(v, lane{alpha, 0}, v)
		k.mul(v, at.load(w), v)
		at.store(v, dst)
	})
	k.emit("RET")

	k = function("dot3NEON", "(a, b, c []float32) float32", "dot3NEON returns the sum of a*b*c over len(a) elements.")
	a, b, c, acc := k.pointer("a"), k.pointer("b"), k.pointer("c"), k.zeros(8)
	k.eachVector(k.length("a"), 4, []gp{a, b, c}, func(at access, i int) {
		v := at.load(a)
		k.mul(v, at.load(b), v)
		k.fma(v, at.load(c), acc[i])
	})
	k.returnFirst(k.sum(acc))

	k = function("normGradNEON", "(dx, dy, x, w []float32, alpha, beta float32)",
		"normGradNEON writes alpha*dy*w - beta*x to dx over len(x) elements.")
	dx, dy, x, w := k.pointer("dx"), k.pointer("dy"), k.pointer("x"), k.pointer("w")
	alpha, beta := k.scalar("alpha"), k.scalar("beta")
	k.neg(beta, beta)
	k.eachVector(k.length("x"), 2, []gp{dx, dy, x, w}, func(at access, _ int) {
		v, p := at.load(dy), at.load(x)
		k.mul(v, at.load(w), v)
		k.mulLane(p, lane{beta, 0}, p)
		k.fmaLane(v, lane{alpha, 0}, p)
		at.store(p, dx)
	})
	k.emit("RET")

	k = function("softmaxGradNEON", "(dx, dy, y []float32, s float32)", "softmaxGradNEON writes y*(dy-s) to dx over len(y) elements.")
	dx, dy, y, s := k.pointer("dx"), k.pointer("dy"), k.pointer("y"), k.broadcast("s")
	k.eachVector(k.length("y"), 2, []gp{dx, dy, y}, func(at access, _ int) {
		v := at.load(dy)
		k.sub(v, s, v)
		k.mul(v, at.load(y), v)
		at.store(v, dx)
	})
	k.emit("RET")
}

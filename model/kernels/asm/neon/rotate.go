package main

func rotateKernel() {
	k := function("rotateNEON", "(dst, src []float32, heads, half int, cos, sin []float32, sign float32)",
		"rotateNEON turns heads rows of 2*half elements of src by the angles of cos and sign*sin; half is a multiple of 4.")
	dst, src, cos, sin, sign := k.pointer("dst"), k.pointer("src"), k.gp(), k.gp(), k.scalar("sign")
	heads, half := k.arg("heads"), k.arg("half")
	dstHigh, srcHigh, left := k.gp(), k.gp(), k.gp()
	head, next, done := k.label("head"), k.label("pair"), k.label("done")
	k.emit("CBZ %v, %s", heads, done)
	k.mark(head)
	k.emit("ADD %v<<2, %v, %v", half, dst, dstHigh)
	k.emit("ADD %v<<2, %v, %v", half, src, srcHigh)
	k.reload(cos, "cos", "_base")
	k.reload(sin, "sin", "_base")
	k.emit("MOVD %v, %v", half, left)
	k.mark(next)
	at := access{k: k}
	c, s, x, y := at.load(cos), at.load(sin), at.load(src), at.load(srcHigh)
	k.mulLane(s, lane{sign, 0}, s)
	low, high := k.vec(), k.vec()
	k.mul(s, y, low)
	k.neg(low, low)
	k.fma(c, x, low) // x*cos - y*sin
	k.mul(s, x, high)
	k.fma(c, y, high) // y*cos + x*sin
	at.store(low, dst)
	at.store(high, dstHigh)
	k.advance([]gp{dst, src, dstHigh, srcHigh, cos, sin}, 4*lanes)
	k.emit("SUBS $%d, %v, %v", lanes, left, left)
	k.emit("BGT %s", next)
	k.emit("MOVD %v, %v", dstHigh, dst)
	k.emit("MOVD %v, %v", srcHigh, src)
	k.emit("SUBS $1, %v, %v", heads, heads)
	k.emit("BNE %s", head)
	k.mark(done)
	k.emit("RET")
}

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

func rotateKernel() {
	function("rotateAVX2", "(dst, src []float32, heads, half int, cos, sin []float32, sign float32)",
		"rotateAVX2 turns heads rows of 2*half elements of src by the angles of cos and sign*sin; half is a multiple of 8.")
	dst, src, cos, sin, sign := pointer("dst"), pointer("src"), pointer("cos"), pointer("sin"), broadcast("sign")
	heads := Load(Param("heads"), GP64())
	half := Load(Param("half"), GP64())
	dstHigh, srcHigh, i := GP64(), GP64(), GP64()
	Label("head")
	DECQ(heads)
	JL(LabelRef("done"))
	LEAQ(Mem{Base: dst, Index: half, Scale: 4}, dstHigh)
	LEAQ(Mem{Base: src, Index: half, Scale: 4}, srcHigh)
	XORQ(i, i)
	Label("pair")
	at := access{index: i}
	c, s, x, y := at.load(cos), at.load(sin), at.load(src), at.load(srcHigh)
	VMULPS(sign, s, s)
	low, high := YMM(), YMM()
	VMULPS(s, y, low)
	VFMSUB231PS(c, x, low) // x*cos - y*sin
	VMULPS(s, x, high)
	VFMADD231PS(c, y, high) // y*cos + x*sin
	at.store(low, dst)
	at.store(high, dstHigh)
	ADDQ(Imm(lanes), i)
	CMPQ(i, half)
	JL(LabelRef("pair"))
	LEAQ(Mem{Base: dstHigh, Index: half, Scale: 4}, dst)
	LEAQ(Mem{Base: srcHigh, Index: half, Scale: 4}, src)
	JMP(LabelRef("head"))
	Label("done")
	finish()
}

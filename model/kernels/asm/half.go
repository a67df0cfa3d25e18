package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// loadBF16 widens eight bfloat16 numbers: the upper halves of the float32 of the same value.
func loadBF16(m Mem) VecVirtual {
	v := YMM()
	VPMOVZXWD(m, v)
	VPSLLD(Imm(16), v, v)
	return v
}

func halfKernels() {
	function("bf16ToF32AVX2", "(dst []float32, src []byte)",
		"bf16ToF32AVX2 widens len(dst) little-endian bfloat16 numbers, a multiple of 8, to dst.")
	dst, src := pointer("dst"), pointer("src")
	wholeVectors(length("dst"), 4, func(at access, _ int) {
		at.store(loadBF16(Mem{Base: src, Index: at.index, Scale: 2, Disp: at.disp / 2}), dst)
	})
	finish()

	function("f16ToF32AVX2", "(dst []float32, src []byte)",
		"f16ToF32AVX2 widens len(dst) little-endian half-precision numbers, a multiple of 8, to dst.")
	dst, src = pointer("dst"), pointer("src")
	wholeVectors(length("dst"), 4, func(at access, _ int) {
		v := YMM()
		VCVTPH2PS(Mem{Base: src, Index: at.index, Scale: 2, Disp: at.disp / 2}, v)
		at.store(v, dst)
	})
	finish()

	function("f32ToF16AVX2", "(dst []byte, src []float32)",
		"f32ToF16AVX2 rounds len(src) numbers, a multiple of 8, to little-endian half-precision numbers.")
	dst, src = pointer("dst"), pointer("src")
	wholeVectors(length("src"), 4, func(at access, _ int) {
		VCVTPS2PH(Imm(0), at.load(src), Mem{Base: dst, Index: at.index, Scale: 2, Disp: at.disp / 2})
	})
	finish()

	function("widenI8AVX2", "(dst *float32, src *byte, blocks int)",
		"widenI8AVX2 widens blocks of a float32 scale and 32 codes of 8 bits to dst.")
	to, from, blocks := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("blocks"), GP64())
	Label("block")
	scale := YMM()
	VBROADCASTSS(Mem{Base: from}, scale)
	for i := range 4 {
		v := YMM()
		VPMOVSXBD(Mem{Base: from, Disp: 4 + lanes*i}, v)
		VCVTDQ2PS(v, v)
		VMULPS(scale, v, v)
		VMOVUPS(v, Mem{Base: to, Disp: 4 * lanes * i})
	}
	ADDQ(Imm(36), from)
	ADDQ(U32(128), to)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	finish()

	function("orAllAVX2", "(x []byte) byte",
		"orAllAVX2 reads len(x) bytes, a multiple of 128, and returns the bits that any of every 32nd has.")
	x, n := pointer("x"), length("x")
	acc := zeros(4)
	ADDQ(x, n)
	Label("block")
	CMPQ(x, n)
	JGE(LabelRef("done"))
	for i, v := range acc {
		VORPS(Mem{Base: x, Disp: 4 * lanes * i}, v, v)
	}
	ADDQ(Imm(uint64(4*lanes*len(acc))), x)
	JMP(LabelRef("block"))
	Label("done")
	VORPS(acc[1], acc[0], acc[0])
	VORPS(acc[2], acc[0], acc[0])
	VORPS(acc[3], acc[0], acc[0])
	out := GP32()
	VMOVD(acc[0].AsX(), out)
	Store(out.As8(), ReturnIndex(0))
	finish()
}

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

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

func bfloat16Kernels() {
	function("bf16ToF32AVX2", "(dst []float32, src []byte)",
		"bf16ToF32AVX2 widens len(dst) little-endian bfloat16 numbers, a multiple of 8, to dst.")
	dst, src := pointer("dst"), pointer("src")
	wholeVectors(length("dst"), 4, func(at access, _ int) {
		at.store(loadBF16(Mem{Base: src, Index: at.index, Scale: 2, Disp: at.disp / 2}), dst)
	})
	finish()
}

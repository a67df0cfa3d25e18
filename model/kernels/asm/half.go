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

	roundI8()

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

// roundI8 emits the rounding to codes of 8 bits.
func roundI8() {
	function("roundI8AVX2", "(dst *byte, src *float32, blocks int)",
		"roundI8AVX2 rounds blocks of 32 numbers to a float32 scale and 32 codes of 8 bits, as F32ToI8 says.")
	to, from, blocks := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("blocks"), GP64())
	limit, lowest := filled(127), filled(-127)
	Label("block")
	var x [4]VecVirtual
	// Magnitudes are compared as whole numbers, of which those of what is not finite are the largest.
	largest, other := YMM(), YMM()
	for i := range x {
		x[i] = YMM()
		VMOVUPS(Mem{Base: from, Disp: 4 * lanes * i}, x[i])
		if i == 0 {
			VPAND(constantBits(1<<31-1), x[i], largest)
			continue
		}
		VPAND(constantBits(1<<31-1), x[i], other)
		VPMAXSD(other, largest, largest)
	}
	VEXTRACTI128(Imm(1), largest, other.AsX())
	for _, order := range []uint64{0x4e, 0xb1} {
		VPMAXSD(other.AsX(), largest.AsX(), largest.AsX())
		VPSHUFD(Imm(order), largest.AsX(), other.AsX())
	}
	VPMAXSD(other.AsX(), largest.AsX(), largest.AsX())
	VPBROADCASTD(largest.AsX(), largest)

	scale, odd, positive, zero := YMM(), YMM(), YMM(), YMM()
	VDIVPS(limit, largest, scale)
	VPCMPGTD(constantBits(0x7f7fffff), largest, odd)
	VBLENDVPS(odd, constantBits(0x7fc00000), scale, scale)
	VMOVSS(scale.AsX(), Mem{Base: to})
	VXORPS(zero, zero, zero)
	VCMPPS(Imm(0x1e), zero, scale, positive) // greater, and a number
	for i := range x {
		VDIVPS(scale, x[i], x[i])
		VMINPS(limit, x[i], x[i])
		VMAXPS(lowest, x[i], x[i])
		VCVTPS2DQ(x[i], x[i])
		VPAND(positive, x[i], x[i])
	}
	for i := 0; i < 4; i += 2 {
		VPACKSSDW(x[i+1], x[i], x[i])
	}
	VPACKSSWB(x[2], x[0], x[0])
	order := YMM()
	VMOVDQU(table("fourths", func(lane int) uint32 { return uint32(lane%8/2 + 4*(lane%2)) }), order)
	VPERMD(x[0], order, x[0])
	VMOVDQU(x[0], Mem{Base: to, Disp: 4})
	ADDQ(U32(128), from)
	ADDQ(Imm(36), to)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	finish()
}

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// weightRows is the number of rows of a weight that are read side by side.
const weightRows = 4

func dotRowsKernels() {
	for r := 1; r <= 3; r++ {
		dotRows(r)
	}
	dotRowsBF16()
}

// rowPointers returns the addresses of n rows, the first at base, stride bytes apart.
func rowPointers(base, stride GPVirtual, n int) []GPVirtual {
	p := []GPVirtual{base}
	for len(p) < n {
		next := GP64()
		LEAQ(Mem{Base: p[len(p)-1], Index: stride, Scale: 1}, next)
		p = append(p, next)
	}
	return p
}

// dotRows emits the dot products of r rows of x with four rows of w.
func dotRows(r int) {
	name := fmt.Sprintf("dotRows%dAVX2", r)
	function(name, "(out *float32, x *float32, xRow int, w *float32, wRow, k int)",
		fmt.Sprintf("%s writes the dot products of %d rows of x, xRow apart, with 4 rows of w, wRow apart,\n"+
			"all k long, to out [%d, 4].", name, r, r))
	n := Load(Param("k"), GP64()).(GPVirtual)
	x := rowPointers(Load(Param("x"), GP64()).(GPVirtual), stride("xRow"), r)
	w := rowPointers(Load(Param("w"), GP64()).(GPVirtual), stride("wRow"), weightRows)
	unroll := max(1, 3-r) // as many sums as hide the latency of adding to them
	acc := zeros(unroll * r * weightRows)
	eachVector(n, unroll, func(at access, u int) {
		sums := acc[u*r*weightRows:]
		if at.mask == nil {
			xs := make([]VecVirtual, r)
			for i := range xs {
				xs[i] = at.load(x[i])
			}
			for j := range w {
				v := at.load(w[j])
				for i := range xs {
					VFMADD231PS(xs[i], v, sums[i*weightRows+j])
				}
			}
			return
		}
		for j := range w {
			v := at.load(w[j])
			for i := range x {
				VFMADD231PS(at.load(x[i]), v, sums[i*weightRows+j])
			}
		}
	})
	half := r * weightRows
	for i := range acc[half:] {
		VADDPS(acc[half+i], acc[i%half], acc[i%half])
	}
	out := Load(Param("out"), GP64())
	for i := range r {
		VMOVUPS(sumEach(acc[i*weightRows:]), Mem{Base: out, Disp: 4 * weightRows * i})
	}
	finish()
}

// sumEach returns the sums of the lanes of the first four vectors.
func sumEach(v []VecVirtual) Register {
	VHADDPS(v[1], v[0], v[0])
	VHADDPS(v[3], v[2], v[2])
	VHADDPS(v[2], v[0], v[0])
	high := XMM()
	VEXTRACTF128(Imm(1), v[0], high)
	VADDPS(v[0].AsX(), high, high)
	return high
}

func dotRowsBF16() {
	function("dotRowsBF16AVX2", "(out *float32, x *float32, w *byte, wRow, k int)",
		"dotRowsBF16AVX2 writes the dot products of x with 4 rows of bfloat16 numbers, wRow apart, to out [4].\n"+
			"k, the length of the rows, is a multiple of 8.")
	n := Load(Param("k"), GP64()).(GPVirtual)
	x := Load(Param("x"), GP64()).(GPVirtual)
	rowBytes := Load(Param("wRow"), GP64()).(GPVirtual)
	SHLQ(Imm(1), rowBytes)
	w := rowPointers(Load(Param("w"), GP64()).(GPVirtual), rowBytes, weightRows)
	acc, i := zeros(weightRows), GP64()
	XORQ(i, i)
	Label("loop")
	CMPQ(i, n)
	JGE(LabelRef("done"))
	at := access{index: i}
	xs := at.load(x)
	for j := range w {
		VFMADD231PS(loadBF16(Mem{Base: w[j], Index: i, Scale: 2}), xs, acc[j])
	}
	ADDQ(Imm(lanes), i)
	JMP(LabelRef("loop"))
	Label("done")
	VMOVUPS(sumEach(acc), Mem{Base: Load(Param("out"), GP64())})
	finish()
}

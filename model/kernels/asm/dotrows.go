package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// weightRows is the number of rows of a weight that are read side by side.
const weightRows = 4

func dotRowsKernels() {
	for _, h := range halves {
		dotRowsHalf(h, false)
		dotRowsHalf(h, true)
	}
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

// prefetchRows emits prefetches of element index of the four rows behind w. They are what the next call reads;
// where rows begin pages, the processor would not fetch them ahead by itself.
func prefetchRows(w []GPVirtual, rowBytes GPVirtual) func(index GPVirtual, elementBytes uint8) {
	next := rowPointers(w[weightRows-1], rowBytes, weightRows+1)[1:]
	return func(index GPVirtual, elementBytes uint8) {
		for _, p := range next {
			PREFETCHT0(Mem{Base: p, Index: index, Scale: elementBytes})
		}
	}
}

// addEach adds the second four vectors to the first.
func addEach(v []VecVirtual) {
	for j := range weightRows {
		VADDPS(v[weightRows+j], v[j], v[j])
	}
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

// half is a type of 16-bit numbers and how eight of them are widened.
type half struct {
	name, doc string
	load      func(m Mem) VecVirtual
}

var halves = []half{
	{"BF16", "bfloat16", loadBF16},
	{"F16", "half-precision", func(m Mem) VecVirtual {
		v := YMM()
		VCVTPH2PS(m, v)
		return v
	}},
}

// dotRowsHalf emits the dot products of a row of float32 with rows of 16-bit numbers. Four short rows, one after
// another in memory, are fetched ahead in that order; each of four long ones at the place that the last four are at.
func dotRowsHalf(h half, long bool) {
	name, doc := "dotRows"+h.name+"AVX2", ""
	if long {
		name, doc = "dotLongRows"+h.name+"AVX2", "\nIts prefetches are for rows of some thousand numbers."
	}
	function(name, "(out *float32, x *float32, w *byte, wRow, k int)",
		name+" writes the dot products of x with 4 rows of "+h.doc+" numbers, wRow apart, to out [4].\n"+
			"k, the length of the rows, is a multiple of 8."+doc)
	n := Load(Param("k"), GP64()).(GPVirtual)
	x := Load(Param("x"), GP64()).(GPVirtual)
	rowBytes := Load(Param("wRow"), GP64()).(GPVirtual)
	SHLQ(Imm(1), rowBytes)
	w := rowPointers(Load(Param("w"), GP64()).(GPVirtual), rowBytes, weightRows)
	acc, next := zeros(2*weightRows), GP64()
	var prefetch func(index GPVirtual, elementBytes uint8)
	if long {
		prefetch = prefetchRows(w, rowBytes)
	} else {
		LEAQ(Mem{Base: w[0], Index: rowBytes, Scale: weightRows}, next)
	}
	wholeVectors(n, 2, func(at access, u int) {
		xs := at.load(x)
		for j := range w {
			v := h.load(Mem{Base: w[j], Index: at.index, Scale: 2, Disp: at.disp / 2})
			VFMADD231PS(v, xs, acc[u*weightRows+j])
		}
		switch {
		case !long:
			PREFETCHT0(Mem{Base: next, Index: at.index, Scale: 2 * weightRows, Disp: weightRows * at.disp / 2})
		case u == 1:
			prefetch(at.index, 2)
		}
	})
	addEach(acc)
	VMOVUPS(sumEach(acc), Mem{Base: Load(Param("out"), GP64())})
	finish()
}

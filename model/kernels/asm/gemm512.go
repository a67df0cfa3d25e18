package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// wideTileRows and wideTilePanels are the size of an AVX-512 tile: 12 rows of two panels, each as wide as a vector.
// Its 24 sums need two vectors of B and 12 broadcasts a step, which leaves the load ports a third of their time.
const wideTileRows, wideTilePanels, wideLanes = 12, 2, 16

// wideGemmKernels emits the AVX-512 kernels of matrix products.
func wideGemmKernels() {
	wideGemmTiles()
	widePackRows()
}

// widePackRows emits a copy of rows of any width up to that of a vector.
func widePackRows() {
	function("packRowsAVX512", "(dst, src *float32, stride, width, k int, mask uint32)",
		"packRowsAVX512 copies the first width elements, at most 16, of k rows of src, stride apart, to dst one after\n"+
			"another. mask has a bit for each.")
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	row, width, k := stride("stride"), stride("width"), Load(Param("k"), GP64())
	KMOVW(Load(Param("mask"), GP32()), K1)
	Label("loop")
	v := ZMM()
	VMOVUPS_Z(Mem{Base: src}, K1, v)
	VMOVUPS(v, K1, Mem{Base: dst})
	ADDQ(row, src)
	ADDQ(width, dst)
	DECQ(k)
	JNZ(LabelRef("loop"))
	finish()
}

// wideGemmTiles emits the AVX-512 twin of gemmTiles. Each element is the same sum in the same order.
func wideGemmTiles() {
	function("gemmTilesAVX512", "(rows, tiles, k int, a *float32, aTile, aRow, aCol int, b *float32, bRow, bPanel, panels int, c *float32, cRow int, alpha float32, add bool, mask uint32)",
		"gemmTilesAVX512 computes alpha*A*B for tiles of C one below the other, each of 1 to 12 rows and 1 or 2 panels of 16\n"+
			"columns, and stores them or adds them to C. A's element i, l of a tile is a[i*aRow+l*aCol], tiles of A are aTile\n"+
			"apart, B's rows of 16 are bRow apart, its panels bPanel, and the rows of C cRow. mask has a bit for each column of\n"+
			"the last panel that C has. Elements have the bits that gemmTilesAVX2 computes.")
	mask := Load(Param("mask"), GP32())
	KMOVW(mask, K1)
	rows, panels := Load(Param("rows"), GP64()), Load(Param("panels"), GP64())
	CMPQ(panels, Imm(1))
	JNE(LabelRef("panels2"))
	for n := 1; n <= wideTilePanels; n++ {
		if n > 1 {
			Label(fmt.Sprintf("panels%d", n))
		}
		for r := 1; r <= wideTileRows; r++ {
			CMPQ(rows, Imm(uint64(r)))
			JE(LabelRef(fmt.Sprintf("tiles%dx%d", r, n)))
		}
		RET()
	}
	for n := 1; n <= wideTilePanels; n++ {
		for r := 1; r <= wideTileRows; r++ {
			Label(fmt.Sprintf("tiles%dx%d", r, n))
			wideTilesOf(r, n)
		}
	}
}

// rowsOfThree are addresses of rows: a pointer to every third row, the stride scaled by 0, 1 and 2.
type rowsOfThree struct {
	pointers []GPVirtual
	stride   GPVirtual
}

// newRowsOfThree addresses n rows from base on, stride bytes apart. base becomes one of the pointers.
func newRowsOfThree(base, stride GPVirtual, n int) rowsOfThree {
	t := rowsOfThree{[]GPVirtual{base}, stride}
	if n <= 3 {
		return t
	}
	three := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
	for i := 3; i < n; i += 3 {
		next := GP64()
		LEAQ(Mem{Base: t.pointers[len(t.pointers)-1], Index: three, Scale: 1}, next)
		t.pointers = append(t.pointers, next)
	}
	return t
}

func (t rowsOfThree) row(i int) Mem {
	m := Mem{Base: t.pointers[i/3]}
	if i%3 > 0 {
		m.Index, m.Scale = t.stride, uint8(i%3)
	}
	return m
}

// wideTilesOf emits the products for tiles of r rows and n panels.
func wideTilesOf(r, n int) {
	name := func(s string) string { return fmt.Sprintf("%s_%dx%d", s, r, n) }
	tiles := Load(Param("tiles"), GP64())
	from, to := Load(Param("a"), GP64()).(GPVirtual), Load(Param("c"), GP64()).(GPVirtual)
	Label(name("tile"))
	acc := make([]VecVirtual, r*n)
	for i := range acc {
		acc[i] = ZMM()
		VPXORD(acc[i], acc[i], acc[i])
	}
	wideSumTile(r, n, name("loop"), from, acc)
	cRow, at := stride("cRow"), GP64()
	MOVQ(to, at)
	wideStoreTile(newRowsOfThree(at, cRow, r), n, acc, name)
	for range r {
		ADDQ(cRow, to)
	}
	ADDQ(stride("aTile"), from)
	DECQ(tiles)
	JNZ(LabelRef(name("tile")))
	finish()
}

// wideSumTile emits the sums of a tile whose rows of A begin at from.
func wideSumTile(r, n int, loop string, from GPVirtual, acc []VecVirtual) {
	k, start := Load(Param("k"), GP64()), GP64()
	MOVQ(from, start)
	a := newRowsOfThree(start, stride("aRow"), r)
	aCol := stride("aCol")
	b, bRow := Load(Param("b"), GP64()), stride("bRow")
	columns := []Mem{{Base: b}}
	if n > 1 {
		columns = append(columns, Mem{Base: b, Index: stride("bPanel"), Scale: 1})
	}
	Label(loop)
	var vs []VecVirtual
	for _, m := range columns {
		v := ZMM()
		VMOVUPS(m, v)
		vs = append(vs, v)
	}
	for i := range r {
		x := ZMM()
		VBROADCASTSS(a.row(i), x)
		for j, v := range vs {
			VFMADD231PS(v, x, acc[i*n+j])
		}
	}
	for _, p := range a.pointers {
		ADDQ(aCol, p)
	}
	ADDQ(bRow, b)
	DECQ(k)
	JNZ(LabelRef(loop))
}

// wideStoreTile stores alpha times the accumulators to C or adds them to it, of the last panel what the mask K1 has.
func wideStoreTile(c rowsOfThree, n int, acc []VecVirtual, name func(string) string) {
	alpha := ZMM()
	VBROADCASTSS(argument("alpha"), alpha)
	add := Load(Param("add"), GP8())
	place := func(i int) Mem {
		at := c.row(i / n)
		at.Disp += 4 * wideLanes * (i % n)
		return at
	}
	store := func(i int) {
		if i%n == n-1 {
			VMOVUPS(acc[i], K1, place(i))
		} else {
			VMOVUPS(acc[i], place(i))
		}
	}
	TESTB(add, add)
	JZ(LabelRef(name("store")))
	for i, v := range acc {
		if i%n == n-1 {
			VFMADD213PS_Z(place(i), alpha, K1, v)
		} else {
			VFMADD213PS(place(i), alpha, v)
		}
		store(i)
	}
	JMP(LabelRef(name("stored")))
	Label(name("store"))
	for i, v := range acc {
		VMULPS(alpha, v, v)
		store(i)
	}
	Label(name("stored"))
}

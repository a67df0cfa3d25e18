package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const tileRows, tileCols = 6, 16

// addressing of the rows of a tile: three from each of two pointers, the stride scaled by 0, 1 and 2.
type tileRowsAt struct{ low, high, stride GPVirtual }

func (t tileRowsAt) row(i int) Mem {
	m := Mem{Base: t.low}
	if i >= 3 {
		m.Base = t.high
	}
	if i%3 > 0 {
		m.Index, m.Scale = t.stride, uint8(i%3)
	}
	return m
}

// newTileRows starts the addressing at base. stride is in bytes.
func newTileRows(base, stride GPVirtual) tileRowsAt {
	high := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, high)
	ADDQ(base, high)
	return tileRowsAt{base, high, stride}
}

// stride loads a stride parameter, counted in elements, as bytes.
func stride(param string) GPVirtual {
	s := Load(Param(param), GP64()).(GPVirtual)
	SHLQ(Imm(2), s)
	return s
}

func gemmKernels() {
	gemmTiles()
	packRows(tileCols)
	packRows(tileRows)
}

// packRows emits a copy of rows of a fixed width.
func packRows(width int) {
	name := fmt.Sprintf("packRows%dAVX2", width)
	function(name, "(dst, src *float32, stride, k int)",
		fmt.Sprintf("%s copies the first %d elements of k rows of src, stride apart, to dst one after another.", name, width))
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	row, k := stride("stride"), Load(Param("k"), GP64())
	Label("loop")
	i := 0
	for ; i+lanes <= width; i += lanes {
		v := YMM()
		VMOVUPS(Mem{Base: src, Disp: 4 * i}, v)
		VMOVUPS(v, Mem{Base: dst, Disp: 4 * i})
	}
	if width-i == 6 {
		v, w := XMM(), XMM()
		VMOVUPS(Mem{Base: src, Disp: 4 * i}, v)
		VMOVSD(Mem{Base: src, Disp: 4 * (i + 4)}, w)
		VMOVUPS(v, Mem{Base: dst, Disp: 4 * i})
		VMOVSD(w, Mem{Base: dst, Disp: 4 * (i + 4)})
	}
	ADDQ(row, src)
	ADDQ(Imm(uint64(4*width)), dst)
	DECQ(k)
	JNZ(LabelRef("loop"))
	finish()
}

func gemmTiles() {
	function("gemmTilesAVX2", "(rows, tiles, k int, a *float32, aTile, aRow, aCol int, b *float32, bRow int, c *float32, cRow int, alpha float32, add bool)",
		"gemmTilesAVX2 computes alpha*A*B for tiles of C one below the other, each of 1 to 6 rows and 16 columns, and stores\n"+
			"them or adds them to C. A's element i, l of a tile is a[i*aRow+l*aCol], tiles of A are aTile apart, B's rows of 16\n"+
			"are bRow apart and those of C cRow.")
	rows := Load(Param("rows"), GP64()).(GPVirtual)
	for r := 1; r <= tileRows; r++ {
		CMPQ(rows, Imm(uint64(r)))
		JE(LabelRef(fmt.Sprintf("rows%d", r)))
	}
	RET()
	for r := 1; r <= tileRows; r++ {
		Label(fmt.Sprintf("rows%d", r))
		tilesOf(r)
	}
}

// tilesOf emits the products for tiles of r rows.
func tilesOf(r int) {
	name := func(s string) string { return fmt.Sprintf("%s_%d", s, r) }
	tiles := Load(Param("tiles"), GP64())
	from, to := Load(Param("a"), GP64()).(GPVirtual), Load(Param("c"), GP64()).(GPVirtual)
	Label(name("tile"))
	acc := zeros(2 * r)
	sumTile(r, name("loop"), from, acc)
	cRow := stride("cRow")
	storeTile(newTileRows(to, cRow), acc, name)
	for range r {
		ADDQ(cRow, to)
	}
	ADDQ(stride("aTile"), from)
	DECQ(tiles)
	JNZ(LabelRef(name("tile")))
	finish()
}

// sumTile emits the sums of a tile of r rows of A that begins at from.
func sumTile(r int, loop string, from GPVirtual, acc []VecVirtual) {
	k, start := Load(Param("k"), GP64()), GP64()
	MOVQ(from, start)
	a := newTileRows(start, stride("aRow"))
	aCol := stride("aCol")
	b, bRow := Load(Param("b"), GP64()), stride("bRow")
	Label(loop)
	left, right, v := YMM(), YMM(), YMM()
	VMOVUPS(Mem{Base: b}, left)
	VMOVUPS(Mem{Base: b, Disp: 4 * lanes}, right)
	for i := range r {
		VBROADCASTSS(a.row(i), v)
		VFMADD231PS(left, v, acc[2*i])
		VFMADD231PS(right, v, acc[2*i+1])
	}
	ADDQ(aCol, a.low)
	if r > 3 {
		ADDQ(aCol, a.high)
	}
	ADDQ(bRow, b)
	DECQ(k)
	JNZ(LabelRef(loop))
}

// storeTile stores alpha times the accumulators to C or adds them to it.
func storeTile(c tileRowsAt, acc []VecVirtual, name func(string) string) {
	alpha := broadcast("alpha")
	add := Load(Param("add"), GP8())
	TESTB(add, add)
	JZ(LabelRef(name("store")))
	for i, v := range acc {
		at := c.row(i / 2)
		at.Disp += 4 * lanes * (i % 2)
		VFMADD213PS(at, alpha, v)
		VMOVUPS(v, at)
	}
	JMP(LabelRef(name("stored")))
	Label(name("store"))
	for i, v := range acc {
		at := c.row(i / 2)
		at.Disp += 4 * lanes * (i % 2)
		VMULPS(alpha, v, v)
		VMOVUPS(v, at)
	}
	Label(name("stored"))
}

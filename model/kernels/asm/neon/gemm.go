package main

import "fmt"

// A tile is 6 rows of 16 columns, four vectors: 24 sums, four vectors of B and four registers for numbers of A, all 32.
// A step of k takes 24 multiplications, and for them reads four vectors and six numbers.
const tileRows, tileCols = 6, 16

func gemmKernels() {
	gemmTiles()
	packRows(tileCols)
	packRows(tileRows)
}

// packRows emits a copy of rows of a fixed width.
func packRows(width int) {
	name := fmt.Sprintf("packRows%dNEON", width)
	k := function(name, "(dst, src *float32, stride, k int)",
		fmt.Sprintf("%s copies the first %d elements of k rows of src, stride apart, to dst one after another.", name, width))
	dst, src, row, n := k.arg("dst"), k.arg("src"), k.stride("stride"), k.arg("k")
	v := k.vecsOf(4)
	k.mark("loop")
	if width == tileCols {
		k.emit("VLD1.P (%v)(%v), %s", src, row, list(v))
		k.emit("VST1.P %s, 64(%v)", list(v), dst)
	} else {
		k.read(src, 0, v[0])
		k.emit("FMOVD 16(%v), %s", src, v[1].scalar())
		k.write(v[0], dst, 0)
		k.emit("FMOVD %s, 16(%v)", v[1].scalar(), dst)
		k.emit("ADD %v, %v, %v", row, src, src)
		k.emit("ADD $24, %v, %v", dst, dst)
	}
	k.emit("SUBS $1, %v, %v", n, n)
	k.emit("BNE loop")
	k.emit("RET")
}

func gemmTiles() {
	k := function("gemmTilesNEON", "(rows, tiles, k int, a *float32, aTile, aRow, aCol int, b *float32, bRow int, c *float32, cRow int, alpha float32, add bool)",
		"gemmTilesNEON computes alpha*A*B for tiles of C one below the other, each of 1 to 6 rows and 16 columns, and stores\n"+
			"them or adds them to C. A's element i, l of a tile is a[i*aRow+l*aCol], tiles of A are aTile apart, B's rows of 16\n"+
			"are bRow apart and those of C cRow.")
	rows := k.arg("rows")
	for r := 1; r <= tileRows; r++ {
		k.emit("CMP $%d, %v", r, rows)
		k.emit("BEQ rows%d", r)
	}
	k.emit("RET")
	for r := 1; r <= tileRows; r++ {
		release := k.keep()
		k.mark(fmt.Sprintf("rows%d", r))
		k.tilesOf(r)
		release()
	}
}

// tilesOf emits the products for tiles of r rows.
func (k *kernel) tilesOf(r int) {
	tiles, from, to := k.arg("tiles"), k.arg("a"), k.arg("c")
	aTile, aRow, aCol, bRow, cRow := k.stride("aTile"), k.stride("aRow"), k.stride("aCol"), k.stride("bRow"), k.stride("cRow")
	add, n, at, b := k.arg("add"), k.gp(), k.gp(), k.gp()
	row := make([]gp, r)
	for i := range row {
		row[i] = k.gp()
	}
	tile, loop, store, stored := k.label("tile"), k.label("loop"), k.label("store"), k.label("stored")
	acc, columns, numbers := k.vecsOf(4*r), k.vecsOf(4), k.vecsOf(4)
	k.mark(tile)
	for _, v := range acc {
		k.zero(v)
	}
	for i := range row {
		if i == 0 {
			k.emit("MOVD %v, %v", from, row[0])
		} else {
			k.emit("ADD %v, %v, %v", aRow, row[i-1], row[i])
		}
	}
	k.reload(n, "k", "")
	k.reload(b, "b", "")
	k.emit("MOVD $0, %v", at)
	k.mark(loop)
	k.emit("VLD1.P (%v)(%v), %s", b, bRow, list(columns))
	fetch := func(i int) { k.emit("FMOVS (%v)(%v), %s", row[i], at, numbers[i%4].scalar()) }
	for i := range min(r, 4) {
		fetch(i)
	}
	for i := range r {
		for j, v := range columns {
			k.fmaLane(v, lane{numbers[i%4], 0}, acc[4*i+j])
		}
		if i+4 < r {
			fetch(i + 4)
		}
	}
	k.emit("ADD %v, %v, %v", aCol, at, at)
	k.emit("SUBS $1, %v, %v", n, n)
	k.emit("BNE %s", loop)

	alpha := lane{numbers[0], 0}
	k.emit("FMOVS %s, %s", k.at("alpha", ""), alpha.v.scalar())
	k.emit("CBZ %v, %s", add, store)
	for i := range r {
		k.emit("VLD1 (%v), %s", to, list(columns))
		for j, v := range columns {
			k.fmaLane(acc[4*i+j], alpha, v)
		}
		k.emit("VST1.P %s, (%v)(%v)", list(columns), to, cRow)
	}
	k.emit("B %s", stored)
	k.mark(store)
	for i := range r {
		for j := range 4 {
			k.mulLane(acc[4*i+j], alpha, acc[4*i+j])
		}
		k.emit("VST1.P %s, (%v)(%v)", list(acc[4*i:][:4]), to, cRow)
	}
	k.mark(stored)
	k.emit("ADD %v, %v, %v", aTile, from, from)
	k.emit("SUBS $1, %v, %v", tiles, tiles)
	k.emit("BNE %s", tile)
	k.emit("RET")
}

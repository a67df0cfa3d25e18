package kernels

import "sync"

// The built-in product follows Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
// blocks of B are packed into panels of tileCols columns, one of which stays in the L1 cache while a block of A's
// rows, which stays in L2, passes through the tile kernel. A is read in place, which its rows allow, unless it is
// transposed.
const (
	tileRows  = 6
	tileCols  = 16
	blockRows = 16 * tileRows
	blockCols = 64 * tileCols
	blockK    = 256
)

// packing holds the packed blocks of one product and tiles for what sticks out of C.
type packing struct {
	a     [blockRows * blockK]float32
	b     [blockCols * blockK]float32
	tiles [blockRows * tileCols]float32
}

// panels are columns of op(B) in groups of tileCols, rows of a group side by side. Groups are stride apart.
type panels struct {
	data     []float32
	stride   int
	bInPlace bool // whole groups are read from B itself
}

var packings = sync.Pool{New: func() any { return new(packing) }}

// builtinGemm computes p without a library. k and alpha are not zero.
func builtinGemm(p *product) {
	add := p.beginSum()
	buf := packings.Get().(*packing)
	defer packings.Put(buf)
	blocks := (p.k + blockK - 1) / blockK
	for block := range blocks {
		l0, l1 := block*p.k/blocks, (block+1)*p.k/blocks // of about equal size
		for j0 := 0; j0 < p.n; j0 += blockCols {
			part := p.cols(j0, min(j0+blockCols, p.n))
			b := panels{buf.b[:], tileCols * (l1 - l0), !p.tb && p.m <= fewRows}
			part.packB(b, l0, l1-l0)
			part.multiplyBlock(buf, b, l0, l1-l0, add || block > 0)
		}
	}
}

// beginSum prepares C and says whether it is added to.
func (p *product) beginSum() bool {
	if p.beta != 0 && p.beta != 1 {
		p.scaleC()
	}
	return p.beta != 0
}

// multiplyBlock adds the product of columns l0 to l0+k of A and the rows of B of the same number to C, or stores it.
func (p *product) multiplyBlock(buf *packing, b panels, l0, k int, add bool) {
	for i0 := 0; i0 < p.m; i0 += blockRows {
		part := p.rows(i0, min(i0+blockRows, p.m))
		if p.ta {
			part.packA(buf.a[:], l0, k)
		}
		for j := 0; j < p.n; j += tileCols {
			part.multiplyPanel(buf, b, l0, k, j, add)
		}
	}
}

// multiplyPanel computes the columns of C that begin at j from one panel of B.
func (p *product) multiplyPanel(buf *packing, from panels, l0, k, j int, add bool) {
	b, bRow := from.data[j/tileCols*from.stride:], tileCols
	if from.bInPlace && p.n-j >= tileCols {
		b, bRow = p.b[l0*p.ldb+j:], p.ldb
	}
	for i := 0; i < p.m; {
		rows, tiles := p.tilesAt(i)
		a, aTile, aRow, aCol := buf.a[i*k:], rows*k, 1, rows
		if !p.ta {
			a, aTile, aRow, aCol = p.a[i*p.lda+l0:], rows*p.lda, p.lda, 1
		}
		if p.n-j >= tileCols {
			gemmTiles(rows, tiles, k, a, aTile, aRow, aCol, b, bRow, p.c[i*p.ldc+j:], p.ldc, p.alpha, add)
		} else {
			gemmTiles(rows, tiles, k, a, aTile, aRow, aCol, b, bRow, buf.tiles[:], tileCols, p.alpha, false)
			p.putColumns(i, j, rows*tiles, buf.tiles[:], add)
		}
		i += rows * tiles
	}
}

// putColumns stores or adds the first columns of rows of tileCols, as many as C has from column j on.
func (p *product) putColumns(i, j, rows int, from []float32, add bool) {
	for r := range rows {
		c := p.c[(i+r)*p.ldc+j : (i+r)*p.ldc+p.n]
		if !add {
			clear(c)
		}
		for q, v := range from[r*tileCols:][:len(c)] {
			c[q] += v
		}
	}
}

// tilesAt returns the height of the tiles from row i on and how many of that height follow, when the rows are spread
// evenly over as few tiles as hold them: two tiles of four take less time than one of six and one of two. i is 0 or
// what the tiles returned for 0 end at.
func (p *product) tilesAt(i int) (rows, tiles int) {
	tiles = (p.m + tileRows - 1) / tileRows
	rows = p.m / tiles
	tall := p.m % tiles
	if i == 0 && tall > 0 {
		return rows + 1, tall
	}
	return rows, tiles - tall
}

// packA copies rows l0 to l0+k of the transposed A to panels as high as the tiles, columns of a panel side by side.
func (p *product) packA(dst []float32, l0, k int) {
	for i := 0; i < p.m; {
		rows, tiles := p.tilesAt(i)
		for range tiles {
			packRows(dst[i*k:][:rows*k], p.a[l0*p.lda+i:], p.lda, rows, k)
			i += rows
		}
	}
}

// packB copies rows l0 to l0+k of op(B) to panels of tileCols columns, rows of a panel side by side. What the last
// panel lacks is zero.
func (p *product) packB(to panels, l0, k int) {
	for j := 0; j < p.n; j += tileCols {
		panel := to.data[j/tileCols*to.stride:][:tileCols*k]
		cols := min(tileCols, p.n-j)
		switch {
		case cols < tileCols:
			p.packLastPanel(panel, l0, k, j, cols)
		case to.bInPlace:
		case p.tb:
			transposePanel(panel, p.b[j*p.ldb+l0:], p.ldb, k)
		default:
			packRows(panel, p.b[l0*p.ldb+j:], p.ldb, tileCols, k)
		}
	}
}

func (p *product) packLastPanel(panel []float32, l0, k, j, cols int) {
	clear(panel)
	for l := range k {
		row := panel[l*tileCols:]
		for c := range cols {
			if p.tb {
				row[c] = p.b[(j+c)*p.ldb+l0+l]
			} else {
				row[c] = p.b[(l0+l)*p.ldb+j+c]
			}
		}
	}
}

// fewRows is the number of rows of A up to which packing B takes longer than it saves. OpenBLAS packs always, so up
// to here it is slower than the built-in kernels.
const fewRows = 12

// isDots says whether the product is best computed by dotGemm: short rows are not, for summing up their lanes.
func (p *product) isDots() bool { return !p.ta && p.tb && p.m <= min(fewRows, p.k/16) }

// dotGemm computes A·Bᵀ as dot products of rows, reading B once and in order: a linear layer's weight times few
// tokens, bound by memory.
func dotGemm(p *product) {
	var out [dotRows * dotCols]float32
	whole := p.n - p.n%dotCols
	for j := 0; j < whole; j += dotCols {
		for i := 0; i < p.m; i += dotRows {
			rows := min(dotRows, p.m-i)
			dotTile(&out, p.a[i*p.lda:], p.lda, rows, p.b[j*p.ldb:], p.ldb, p.k)
			for r := range rows {
				for c := range dotCols {
					p.put(i+r, j+c, out[r*dotCols+c])
				}
			}
		}
	}
	for j := whole; j < p.n; j++ {
		for i := range p.m {
			p.put(i, j, dot(p.a[i*p.lda:][:p.k], p.b[j*p.ldb:][:p.k]))
		}
	}
}

// put stores alpha*v + beta*C in C's element i, j.
func (p *product) put(i, j int, v float32) {
	c := &p.c[i*p.ldc+j]
	if p.beta == 0 {
		*c = p.alpha * v
	} else {
		*c = p.alpha*v + p.beta**c
	}
}

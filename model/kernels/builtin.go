package kernels

import "sync"

// The built-in product follows Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
// blocks of B are packed into panels of panelCols columns, which stay in the L1 cache while a block of A's rows, which
// stays in L2, passes through the tile kernel. A is read in place, which its rows allow, unless it is transposed.
//
// An element of C is beta*C plus, for each blockK rows of op(B), alpha times a sum that begins at zero and takes one
// product after another. Nothing else enters: neither how many rows and columns there are nor how they are spread over
// tiles, cores and packed factors. So a row has the same bits whatever rows stand beside it.
const (
	panelCols = 16
	blockRows = 96 // a multiple of the height of all tiles
	blockCols = 64 * panelCols
	blockK    = 256
)

// tileSize is the size of the tiles of C whose sums a processor's registers hold.
type tileSize struct{ rows, panels int }

func tileOf() tileSize {
	if useAVX512 {
		return tileSize{12, 2}
	}
	return tileSize{6, 1}
}

// packing holds the packed blocks of one product and tiles for what sticks out of C.
type packing struct {
	a     [blockRows * blockK]float32
	b     [blockCols * blockK]float32
	tiles [blockRows * panelCols]float32
	codes unpacked
	rows  [panelCols * blockK]float32 // of B, side by side
}

// panels are columns of op(B) in groups of panelCols, rows of a group side by side. Groups are stride apart.
type panels struct {
	data     []float32
	stride   int
	bInPlace bool // whole groups are read from B itself
}

var packings = sync.Pool{New: func() any { return new(packing) }}

// builtinGemm computes p without a library. k and alpha are not zero.
func builtinGemm(p *product) {
	if p.beta != 0 && p.beta != 1 {
		p.scaleC()
	}
	buf := packings.Get().(*packing)
	defer packings.Put(buf)
	if p.packed.data == nil && p.m <= fewRows {
		p.multiplyFewRows(buf)
		return
	}
	for l0 := 0; l0 < p.k; {
		k, add := p.sumFrom(l0), p.beta != 0 || l0 > 0
		if p.packed.data != nil {
			p.multiplyBlock(buf, p.packed.block(p.firstRow+l0, p.firstCol), l0, k, add)
		} else {
			p.packAndMultiply(buf, l0, k, add)
		}
		l0 += k
	}
}

// packAndMultiply is multiplyBlock with rows of B that are not packed.
func (p *product) packAndMultiply(buf *packing, l0, k int, add bool) {
	for j0 := 0; j0 < p.n; j0 += blockCols {
		part := p.cols(j0, min(j0+blockCols, p.n))
		b := panels{buf.b[:], panelCols * k, false}
		part.packB(buf, b, l0, k, panelCols*p.ldb)
		part.multiplyBlock(buf, b, l0, k, add)
	}
}

// multiplyFewRows computes p, whose few rows of A leave reading B as what takes time. It goes through B in the order
// of memory, if transposed, and multiplies with what it packs while that is in the nearest cache.
func (p *product) multiplyFewRows(buf *packing) {
	if p.fused(buf) {
		return
	}
	for j0 := 0; j0 < p.n; j0 += gemvCols {
		part := p.cols(j0, min(j0+gemvCols, p.n))
		for l0 := 0; l0 < p.k; {
			k, add := p.sumFrom(l0), p.beta != 0 || l0 > 0
			ahead := k
			if l0+k == p.k {
				ahead = gemvCols*p.ldb - l0
			}
			if part.isGemv(k) {
				part.gemvColumns(buf, l0, k, ahead, add)
			} else {
				b := panels{buf.b[:], panelCols * k, !p.tb}
				part.packB(buf, b, l0, k, ahead)
				part.multiplyBlock(buf, b, l0, k, add)
			}
			l0 += k
		}
	}
}

// isGemv says whether gemvColumns computes k products of all columns.
func (p *product) isGemv(k int) bool {
	return p.m == 1 && !p.ta && p.tb && p.n%gemvCols == 0 && p.hasGemv(k)
}

// sumFrom returns how many products from the l0-th on are summed up at once.
func (p *product) sumFrom(l0 int) int { return min(p.k-l0, blockK-(p.firstRow+l0)%blockK) }

// multiplyBlock adds the product of columns l0 to l0+k of A and the rows of B of the same number to C, or stores it.
func (p *product) multiplyBlock(buf *packing, b panels, l0, k int, add bool) {
	for i0 := 0; i0 < p.m; i0 += blockRows {
		part := p.rows(i0, min(i0+blockRows, p.m))
		if p.ta {
			part.packA(buf.a[:], l0, k)
		}
		for j := 0; j < p.n; {
			j += part.multiplyPanels(buf, b, l0, k, j, add)
		}
	}
}

// multiplyPanels computes the columns of C that begin at j, as many as a tile is wide or there are, and returns their
// number.
func (p *product) multiplyPanels(buf *packing, from panels, l0, k, j int, add bool) (cols int) {
	cols = min(tileOf().panels*panelCols, p.n-j)
	b, bRow, bPanel := from.data[j/panelCols*from.stride:], panelCols, from.stride
	if from.bInPlace && p.n-j >= panelCols {
		cols -= cols % panelCols
		b, bRow, bPanel = p.b[l0*p.ldb+j:], p.ldb, panelCols
	}
	for i := 0; i < p.m; {
		rows, tiles := p.tilesAt(i)
		a, aTile, aRow, aCol := buf.a[i*k:], rows*k, 1, rows
		if !p.ta {
			a, aTile, aRow, aCol = p.a[i*p.lda+l0:], rows*p.lda, p.lda, 1
		}
		c := p.c[i*p.ldc+j:]
		if useAVX512 || cols == panelCols {
			gemmTiles(rows, tiles, k, a, aTile, aRow, aCol, b, bRow, bPanel, c, p.ldc, cols, p.alpha, add)
		} else { // tiles of whole panels take the place of C
			if add {
				copyRows(buf.tiles[:], panelCols, c, p.ldc, rows*tiles, cols)
			}
			gemmTiles(rows, tiles, k, a, aTile, aRow, aCol, b, bRow, bPanel, buf.tiles[:], panelCols, panelCols, p.alpha, add)
			copyRows(c, p.ldc, buf.tiles[:], panelCols, rows*tiles, cols)
		}
		i += rows * tiles
	}
	return cols
}

// copyRows copies rows of some width from src to dst, whose rows are as far apart as given.
func copyRows(dst []float32, dstRow int, src []float32, srcRow, rows, width int) {
	for i := range rows {
		copy(dst[i*dstRow:][:width], src[i*srcRow:])
	}
}

// tilesAt returns the height of the tiles from row i on and how many of that height follow, when the rows are spread
// evenly over as few tiles as hold them: two tiles of four take less time than one of six and one of two. i is 0 or
// what the tiles returned for 0 end at.
func (p *product) tilesAt(i int) (rows, tiles int) {
	height := tileOf().rows
	tiles = (p.m + height - 1) / height
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

// packB copies rows l0 to l0+k of op(B) to panels of panelCols columns, rows of a panel side by side. What the last
// panel lacks is zero. Of a transposed B it fetches what lies ahead numbers behind into the caches.
func (p *product) packB(buf *packing, to panels, l0, k, ahead int) {
	for j := 0; j < p.n; j += panelCols {
		panel := to.data[j/panelCols*to.stride:][:panelCols*k]
		switch cols := min(panelCols, p.n-j); {
		case p.tb && cols < panelCols:
			p.widenRows(&buf.rows, j, cols, l0, k)
			clear(buf.rows[cols*blockK:])
			transposePanel(panel, buf.rows[:], blockK, k, 0)
		case p.stored.Data != nil:
			if !p.transposeStored(buf, panel, j, l0, k, ahead) {
				p.widenRows(&buf.rows, j, cols, l0, k)
				transposePanel(panel, buf.rows[:], blockK, k, 0)
			}
		case p.tb:
			transposePanel(panel, p.b[j*p.ldb+l0:], p.ldb, k, ahead)
		case cols < panelCols:
			clear(panel)
			copyRows(panel, panelCols, p.b[l0*p.ldb+j:], p.ldb, k, cols)
		case !to.bInPlace:
			packRows(panel, p.b[l0*p.ldb+j:], p.ldb, panelCols, k)
		}
	}
}

// widenRows copies columns l0 to l0+k of the transposed B's rows j to j+n.
func (p *product) widenRows(dst *[panelCols * blockK]float32, j, n, l0, k int) {
	for c := range n {
		row, at := dst[c*blockK:][:k], (j+c)*p.ldb+l0
		if w := &p.stored; w.Data != nil {
			w.Floats(row, at)
		} else {
			copy(row, p.b[at:])
		}
	}
}

// fewRows is the number of rows of A up to which packing B takes longer than it saves.
const fewRows = 12

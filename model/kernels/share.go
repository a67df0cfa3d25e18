package kernels

import "sync"

// A shared product is computed in blocks of C, which the cores take in turn: small enough that all end together
// though one is slowed down, large enough to reuse what they read. shareRows is a multiple of tileRows, shareCols of
// tileCols.
const (
	shareRows = 8 * tileRows
	shareCols = 16 * tileCols
	packCols  = 4 * tileCols // columns that are packed at a time
)

// shared carries a product with its packed right factor into Each without allocating.
type shared struct {
	product
	b                         Packed
	buf                       []float32
	packBlock, multiplyBlocks func(i int)
}

var sharedProducts = sync.Pool{New: func() any {
	s := new(shared)
	s.packBlock = func(i int) { s.b.packCols(i*packCols, min((i+1)*packCols, s.n)) }
	s.multiplyBlocks = func(i int) {
		blocks := ceilDiv(s.m, shareRows)
		row, col := i%blocks*shareRows, i/blocks*shareCols
		q := s.rows(row, min(row+shareRows, s.m))
		q.n, q.c = min(shareCols, s.n-col), q.c[col:]
		q.runPacked(&s.b, col)
	}
	return s
}}

// share computes the product with the built-in kernels on all cores, which pack op(B) once for all. k and alpha are
// not zero.
func (p *product) share() {
	s := sharedProducts.Get().(*shared)
	if size := PackedSize(p.n, p.k); len(s.buf) < size {
		s.buf = make([]float32, size)
	}
	s.product, s.b = *p, Packed{factor: *p, data: s.buf}
	Each(ceilDiv(p.n, packCols), s.packBlock)
	Each(ceilDiv(p.m, shareRows)*ceilDiv(p.n, shareCols), s.multiplyBlocks)
	s.product, s.b = product{}, Packed{}
	sharedProducts.Put(s)
}

func ceilDiv(n, by int) int { return (n + by - 1) / by }

package kernels

import (
	"fmt"
	"sync"
)

// Gemm computes C = alpha*op(A)*op(B) + beta*C on all cores, where op(A) is [m, k], op(B) is [k, n] and C is
// [m, n]; op transposes when its flag is set. lda, ldb and ldc are the strides between the rows of the matrices as
// stored. With beta == 0, C is not read. C must not overlap A or B.
//
// A row of C has the same bits whatever the number of rows, its place among them and the number of cores.
func Gemm(ta, tb bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int,
	beta float32, c []float32, ldc int,
) {
	p := newProduct(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	p.check()
	p.runParallel()
}

// GemmSerial is Gemm on the calling goroutine alone.
func GemmSerial(ta, tb bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int,
	beta float32, c []float32, ldc int,
) {
	p := newProduct(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	p.check()
	p.run()
}

// product is one matrix product, C = alpha*op(A)*op(B) + beta*C.
type product struct {
	ta, tb  bool
	m, n, k int
	alpha   float32
	a       []float32
	lda     int
	b       []float32
	ldb     int
	beta    float32
	c       []float32
	ldc     int
	blas    *openBLAS // nil: the built-in kernels

	stored Stored // op(B) is the transpose of it instead of b, if it has data

	packed             packedFactor // op(B) is part of it instead of b
	open               bool         // other products take more rows of op(B), where their A is not zero, or columns of it if transposed
	firstRow, firstCol int          // where op(B) begins in the factor it is part of; firstCol is a multiple of panelCols
}

func newProduct(ta, tb bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int,
	beta float32, c []float32, ldc int,
) product {
	return product{
		ta: ta, tb: tb, m: m, n: n, k: k, alpha: alpha, a: a, lda: lda, b: b, ldb: ldb, beta: beta, c: c, ldc: ldc,
		blas: backend().blas,
	}
}

// check panics unless every element the product touches lies inside its slice.
func (p *product) check() {
	if p.m < 0 || p.n < 0 || p.k < 0 {
		panic(fmt.Sprintf("kernels: Gemm: negative size m=%d n=%d k=%d", p.m, p.n, p.k))
	}
	checkMatrix("A", p.ta, p.m, p.k, len(p.a), p.lda)
	if p.packed.data == nil && p.stored.Data == nil {
		checkMatrix("B", p.tb, p.k, p.n, len(p.b), p.ldb)
	}
	checkMatrix("C", false, p.m, p.n, len(p.c), p.ldc)
}

func checkMatrix(name string, transposed bool, rows, cols, have, stride int) {
	if transposed {
		rows, cols = cols, rows
	}
	if rows == 0 || cols == 0 {
		return
	}
	if stride < cols {
		panic(fmt.Sprintf("kernels: Gemm: stride %d of %s [%d, %d] is less than its row", stride, name, rows, cols))
	}
	if want := (rows-1)*stride + cols; have < want {
		panic(fmt.Sprintf("kernels: Gemm: %s has %d elements, [%d, %d] with stride %d needs %d",
			name, have, rows, cols, stride, want))
	}
}

// run computes the product on the calling goroutine.
func (p *product) run() {
	switch {
	case p.m == 0 || p.n == 0:
	case p.k == 0 || p.alpha == 0:
		p.scaleC()
	case p.usesLibrary():
		for i := range p.libraryBlocks() {
			p.libraryBlock(i)
		}
	default:
		builtinGemm(p)
	}
}

// Computing fewer than gemmGrain products takes no longer than to call another core to help. Reading B from memory
// takes as long as computing with it for readRows rows of A.
const gemmGrain, readRows = 1 << 17, 4

// runParallel computes the product on all cores if it is worth it.
func (p *product) runParallel() {
	if parts := min(Threads(), (p.m+readRows)*p.n*p.k/gemmGrain); parts > 1 && p.m > 0 && p.alpha != 0 {
		p.split(parts)
	} else {
		p.run()
	}
}

// scaleC computes C = beta*C.
func (p *product) scaleC() {
	for i := range p.m {
		row := p.c[i*p.ldc:][:p.n]
		if p.beta == 0 {
			clear(row)
		} else {
			Scale(p.beta, row)
		}
	}
}

// rows returns the part of the product that computes the rows lo to hi of C.
func (p *product) rows(lo, hi int) product {
	q := *p
	q.m = hi - lo
	q.c = p.c[lo*p.ldc:]
	if p.ta {
		q.a = p.a[lo:]
	} else {
		q.a = p.a[lo*p.lda:]
	}
	return q
}

// cols returns the part of the product that computes the columns lo to hi of C.
func (p *product) cols(lo, hi int) product {
	q := *p
	q.n = hi - lo
	q.c = p.c[lo:]
	switch {
	case p.packed.data != nil:
		q.firstCol += lo
	case p.stored.Data != nil:
		q.stored.Data = p.stored.Data[p.stored.bytes(lo*p.ldb):]
	case p.tb:
		q.b = p.b[lo*p.ldb:]
	default:
		q.b = p.b[lo:]
	}
	return q
}

// splitTile is what the parts of a split product are multiples of, so that micro-kernels stay full.
const splitTile = 32

// splitter carries a product into Parallel without allocating.
type splitter struct {
	product
	byRows bool
	part   func(lo, hi int)
	block  func(i int)
}

var splitters = sync.Pool{New: func() any {
	s := new(splitter)
	s.part = func(lo, hi int) {
		var q product
		if s.byRows {
			q = s.rows(lo*splitTile, min(hi*splitTile, s.m))
		} else {
			q = s.cols(lo*splitTile, min(hi*splitTile, s.n))
		}
		q.run()
	}
	s.block = func(i int) { s.libraryBlock(i) }
	return s
}}

// split computes the product in parts, along the longer side of C, or in a library's blocks.
func (p *product) split(parts int) {
	s := splitters.Get().(*splitter)
	s.product, s.byRows = *p, p.m >= p.n
	if p.usesLibrary() {
		Each(p.libraryBlocks(), s.block)
	} else {
		tiles := (max(p.m, p.n) + splitTile - 1) / splitTile
		Parallel(tiles, (tiles+parts-1)/parts, s.part)
	}
	s.product = product{}
	splitters.Put(s)
}

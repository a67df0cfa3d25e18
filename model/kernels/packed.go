package kernels

import "fmt"

// Packed is a right factor op(B) that several products share, in the order in which the built-in kernels read it: it
// is packed once. Where a library computes the products, it stays where it is.
type Packed struct {
	factor product // tb, n, k, blas, firstRow, firstCol, and packed or b and ldb
}

// packedFactor are the panels of a whole op(B): for each blockK rows those of all columns.
type packedFactor struct {
	data []float32 // nil: not packed
	n, k int
}

// PackedColumns is the number of columns that a packed factor holds side by side.
const PackedColumns = panelCols

// block returns the panels of the rows of op(B) from l0 on to where the blockK rows end that l0 is one of, those of
// the columns from col on, a multiple of panelCols.
func (f *packedFactor) block(l0, col int) panels {
	first := l0 - l0%blockK
	rows := min(blockK, f.k-first)
	at := PackedSize(f.n, first) + col*rows + (l0-first)*panelCols
	return panels{data: f.data[at:], stride: panelCols * rows}
}

// Packs says whether packing a factor that many large products share makes them faster. A library takes it as it is.
func Packs() bool { return backend().blas == nil }

// PackedSize returns the length of the buffer that Pack needs for op(B) [k, n].
func PackedSize(n, k int) int { return (n + panelCols - 1) / panelCols * panelCols * k }

// Pack packs op(B) [k, n] into buf, which must stay as it is while the result is in use; b need not. An empty buf
// leaves op(B) where it is, for products of too few rows to repay packing: bits are the same. The built-in kernels
// multiply with the result even if there is a library, but where they are not vector kernels: there op(B) stays where
// it is.
func Pack(buf []float32, tb bool, n, k int, b []float32, ldb int) Packed {
	p := newFactor(tb, n, k, b, ldb)
	if p.blas != nil && !useVectors() {
		p.open = true
		return Packed{p}
	}
	p.blas = nil
	return Packed{p}.pack(buf)
}

// pack packs what is not.
func (b Packed) pack(buf []float32) Packed {
	p := b.factor
	if len(buf) == 0 {
		return b
	}
	need("Pack: buf", len(buf), PackedSize(p.n, p.k))
	p.packed = packedFactor{buf, p.n, p.k}
	space := packings.Get().(*packing)
	defer packings.Put(space)
	for l0 := 0; l0 < p.k; l0 += blockK {
		p.packB(space, p.packed.block(l0, 0), l0, min(blockK, p.k-l0), panelCols*p.ldb)
	}
	p.b = nil
	return Packed{p}
}

// InPlace returns op(B) [k, n] where it is, for products that Gemm computes: by the library if there is one.
func InPlace(tb bool, n, k int, b []float32, ldb int) Packed {
	return Packed{newFactor(tb, n, k, b, ldb)}
}

// PackStored returns the transpose of w [n, k], whose rows are whole blocks, where it is, for products of few rows. The
// built-in kernels multiply with it; they give the bits of a packed factor of the same numbers in float32.
func PackStored(n, k int, w Stored) Packed {
	need("PackStored: W, in bytes,", len(w.Data), w.bytes(n*k))
	return Packed{product{tb: true, n: n, k: k, stored: w, ldb: k}}
}

func newFactor(tb bool, n, k int, b []float32, ldb int) product {
	p := product{tb: tb, n: n, k: k, b: b, ldb: ldb, blas: backend().blas}
	p.check()
	return p
}

// GemmPacked is [Gemm] with the first n columns and k rows of what was packed as op(B).
func GemmPacked(ta bool, m, n, k int, alpha float32, a []float32, lda int, b Packed, beta float32, c []float32, ldc int) {
	p := b.product(ta, m, n, k, alpha, a, lda, beta, c, ldc)
	p.runParallel()
}

// GemmPackedSerial is GemmPacked on the calling goroutine alone.
func GemmPackedSerial(ta bool, m, n, k int, alpha float32, a []float32, lda int, b Packed, beta float32, c []float32, ldc int) {
	p := b.product(ta, m, n, k, alpha, a, lda, beta, c, ldc)
	p.run()
}

func (b Packed) product(ta bool, m, n, k int, alpha float32, a []float32, lda int, beta float32, c []float32, ldc int) product {
	if n > b.factor.n || k > b.factor.k {
		panic(fmt.Sprintf("kernels: GemmPacked: [%d, %d] of a packed [%d, %d]", k, n, b.factor.k, b.factor.n))
	}
	p := b.factor
	p.ta, p.m, p.n, p.k, p.alpha, p.a, p.lda, p.beta, p.c, p.ldc = ta, m, n, k, alpha, a, lda, beta, c, ldc
	p.check()
	return p
}

// From returns the rows from row on and the columns from col on, a multiple of PackedColumns; of PackStored, the rows
// from a whole block on.
func (b Packed) From(row, col int) Packed {
	p := b.factor
	p.n, p.k, p.firstRow, p.firstCol = p.n-col, p.k-row, p.firstRow+row, p.firstCol+col
	switch {
	case p.packed.data != nil:
	case p.stored.Data != nil:
		p.stored.Data = p.stored.Data[p.stored.bytes(col*p.ldb+row):]
	case p.n == 0 || p.k == 0:
		p.b = nil
	case p.tb:
		p.b = p.b[col*p.ldb+row:]
	default:
		p.b = p.b[row*p.ldb+col:]
	}
	return Packed{p}
}

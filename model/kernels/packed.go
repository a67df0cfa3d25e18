package kernels

import "fmt"

// Packed is a right factor op(B) that several products share, in the order in which the built-in kernels read it: it
// is packed once.
type Packed struct {
	factor product   // tb, n, k, b and ldb
	data   []float32 // for each blockK rows their panels; nil where op(B) is read where it is
}

// PackedSize returns the length of the buffer that Pack needs for op(B) [k, n].
func PackedSize(n, k int) int { return (n + tileCols - 1) / tileCols * tileCols * k }

// Pack packs op(B) [k, n] into buf. Both buf and b must stay as they are while the result is in use. An empty buf
// leaves op(B) where it is, for products of too few rows to repay packing.
func Pack(buf []float32, tb bool, n, k int, b []float32, ldb int) Packed {
	p := Packed{factor: product{tb: tb, n: n, k: k, b: b, ldb: ldb, blas: backend().blas}}
	p.factor.check()
	if len(buf) == 0 || p.factor.blas != nil && !useAVX2 {
		return p
	}
	need("Pack: buf", len(buf), PackedSize(n, k))
	p.data = buf
	for l0 := 0; l0 < k; l0 += blockK {
		p.factor.packB(p.block(l0), l0, min(blockK, k-l0))
	}
	return p
}

// block returns the panels of the blockK rows of op(B) from l0 on.
func (p *Packed) block(l0 int) panels {
	return panels{data: p.data[PackedSize(p.factor.n, l0):], stride: tileCols * min(blockK, p.factor.k-l0)}
}

// GemmPacked is [GemmSerial] with the first n columns and k rows of what was packed as op(B).
func GemmPacked(ta bool, m, n, k int, alpha float32, a []float32, lda int, b Packed, beta float32, c []float32, ldc int) {
	if n > b.factor.n || k > b.factor.k {
		panic(fmt.Sprintf("kernels: GemmPacked: [%d, %d] of a packed [%d, %d]", k, n, b.factor.k, b.factor.n))
	}
	p := b.factor
	p.ta, p.m, p.n, p.k, p.alpha, p.a, p.lda, p.beta, p.c, p.ldc = ta, m, n, k, alpha, a, lda, beta, c, ldc
	p.check()
	if b.data == nil || m == 0 || n == 0 || k == 0 || alpha == 0 {
		p.run()
		return
	}
	add := p.beginSum()
	buf := packings.Get().(*packing)
	defer packings.Put(buf)
	for l0 := 0; l0 < k; l0 += blockK {
		p.multiplyBlock(buf, b.block(l0), l0, min(blockK, k-l0), add || l0 > 0)
	}
}

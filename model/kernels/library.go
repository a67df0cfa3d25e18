package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
)

// How a library sums up an element of a product depends on the product's size: it has kernels of its own for small
// products and for what sticks out of its tiles, and it cuts long sums into parts whose length depends on the sum's. It
// may depend on the element's place in a tile, too. So the library is given blocks of one height, whose rows lie where
// it computes them alike, blocks of columns that begin at multiples of libraryCols, and sums cut at multiples of blockK:
// then a row has the same bits whatever rows stand beside it and however many cores there are.
//
// A library packs B for every block of rows. With 64 of them, those that go through a layer together, this does not
// show.
const libraryRows, libraryCols = 64, 128

// shortSums is the inner dimension up to which OpenBLAS's packing of both factors shows: for attention scores with
// heads of 64, the AVX2 kernels are 1.0 to 1.8 times as fast. Beyond it neither is faster for all shapes.
const shortSums = 64

// usesLibrary says whether the library computes p. It must not depend on the number of rows.
func (p *product) usesLibrary() bool { return p.blas != nil && (!useVectors() || p.k > shortSums) }

// libraryGrid returns how many blocks of rows and of columns p falls into, and where in its block the first column is.
func (p *product) libraryGrid() (down, across, left int) {
	height := len(p.blas.places)
	left = p.firstCol % libraryCols
	return (p.m + height - 1) / height, (left + p.n + libraryCols - 1) / libraryCols, left
}

// libraryBlocks returns the number of blocks that p falls into.
func (p *product) libraryBlocks() int {
	down, across, _ := p.libraryGrid()
	return down * across
}

// libraryBlock computes the i-th block.
func (p *product) libraryBlock(i int) {
	height := len(p.blas.places)
	_, across, left := p.libraryGrid()
	row, col := i/across*height, i%across*libraryCols-left
	q := p.rows(row, min(row+height, p.m))
	q = q.cols(max(col, 0), min(col+libraryCols, p.n))
	for l0 := 0; l0 < q.k; {
		top := (q.firstRow + l0) % blockK
		k := min(q.k-l0, blockK-top)
		part := q.inner(l0, k)
		if l0 > 0 {
			part.beta = 1
		}
		if part.m < libraryRows || part.isOpen() {
			part.padded(top, max(-col, 0))
		} else {
			part.blas.sgemm(&part)
		}
		l0 += k
	}
}

// isOpen says whether the block has less of op(B) than other products with it have.
func (p *product) isOpen() bool {
	return p.open && (p.tb && p.n < libraryCols || !p.tb && p.k < blockK)
}

// inner returns the part of the product that sums up k products from the l-th on; op(B) is not packed.
func (p *product) inner(l, k int) product {
	q := *p
	q.k = k
	if p.ta {
		q.a = p.a[l*p.lda:]
	} else {
		q.a = p.a[l:]
	}
	if p.tb {
		q.b = p.b[l:]
	} else {
		q.b = p.b[l*p.ldb:]
	}
	return q
}

// padding holds the matrices of a block that is not full.
type padding struct {
	a [libraryRows * blockK]float32
	b [libraryCols * blockK]float32
	c [libraryRows * libraryCols]float32
}

var paddings = sync.Pool{New: func() any { return new(padding) }}

// padded computes p, a block that is not full, as one that is full of zeros: of libraryRows rows, and if op(B) is open
// of all that a block has of it, in which p begins at row top and column left.
func (p *product) padded(top, left int) {
	buf := paddings.Get().(*padding)
	defer paddings.Put(buf)
	q := *p
	switch {
	case !p.open:
		top, left = 0, 0
	case p.tb:
		top = 0
		q.n, q.b, q.ldb = libraryCols, buf.b[:libraryCols*p.k], p.k
		clear(q.b)
		copyRows(q.b[left*q.ldb:], q.ldb, p.b, p.ldb, p.n, p.k)
	default:
		left = 0
		q.k, q.b, q.ldb = blockK, buf.b[:blockK*p.n], p.n
		clear(q.b)
		copyRows(q.b[top*q.ldb:], q.ldb, p.b, p.ldb, p.k, p.n)
	}
	q.m, q.a, q.c, q.ldc = libraryRows, buf.a[:libraryRows*q.k], buf.c[:libraryRows*q.n], q.n
	clear(q.a)
	if p.ta {
		q.lda = libraryRows
		for l := range p.k {
			for i, v := range p.a[l*p.lda:][:p.m] {
				q.a[(top+l)*q.lda+p.blas.places[i]] = v
			}
		}
	} else {
		q.lda = q.k
		for i, place := range p.blas.places[:p.m] {
			copy(q.a[place*q.lda+top:], p.a[i*p.lda:][:p.k])
		}
	}
	if p.beta != 0 {
		clear(q.c)
		for i, place := range p.blas.places[:p.m] {
			copy(q.c[place*q.ldc+left:], p.c[i*p.ldc:][:p.n])
		}
	}
	p.blas.sgemm(&q)
	for i, place := range p.blas.places[:p.m] {
		copy(p.c[i*p.ldc:][:p.n], q.c[place*q.ldc+left:])
	}
}

// rowPlaces are the places in a block of libraryRows where a library computes rows alike.
type rowPlaces struct{ places []int }

// fewPlaces is how few of them make a library too slow to be of use.
const fewPlaces = 8

// learnPlaces computes products whose rows are all the same and keeps those places, the most it can, whose results are.
func (lib *openBLAS) learnPlaces() error {
	seen := make([][]float32, libraryRows) // what came out at each place
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range []struct{ n, k int }{{128, 256}, {128, 64}, {127, 129}, {111, 65}, {40, 30}, {9, 256}, {5, 7}} {
		for mode := range 8 {
			p := product{ta: mode&1 != 0, tb: mode&2 != 0, m: libraryRows, n: s.n, k: s.k, alpha: 0.3, beta: float32(mode / 4), blas: lib}
			lib.sgemm(p.fillAlike(r))
			for i := range seen {
				seen[i] = append(seen[i], p.c[i*p.n:][:p.n]...)
			}
		}
	}
	var groups [][]int // of places that are alike
	for i := range seen {
		g := slices.IndexFunc(groups, func(group []int) bool { return sameBits(seen[i], seen[group[0]]) })
		if g < 0 {
			g, groups = len(groups), append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	lib.places = slices.MaxFunc(groups, func(a, b []int) int { return len(a) - len(b) })
	if len(lib.places) < fewPlaces {
		return fmt.Errorf("gives a row of a product other bits at other places: only %d of %d are alike", len(lib.places), libraryRows)
	}
	return nil
}

// fillAlike makes random factors of p, op(A) and C with rows that are all the same.
func (p *product) fillAlike(r *rand.Rand) *product {
	p.a, p.b, p.c = make([]float32, p.m*p.k), make([]float32, p.k*p.n), make([]float32, p.m*p.n)
	p.lda, p.ldb, p.ldc = p.k, p.n, p.n
	if p.ta {
		p.lda = p.m
	}
	if p.tb {
		p.ldb = p.k
	}
	for l := range p.k {
		v := r.Float32() - 0.5
		for i := range p.m {
			if p.ta {
				p.a[l*p.lda+i] = v
			} else {
				p.a[i*p.lda+l] = v
			}
		}
	}
	for i := range p.b {
		p.b[i] = r.Float32() - 0.5
	}
	for j := range p.n {
		v := r.Float32() - 0.5
		for i := range p.m {
			p.c[i*p.ldc+j] = v
		}
	}
	return p
}

func sameBits(a, b []float32) bool {
	for i, v := range a {
		if math.Float32bits(v) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}

package quant

import (
	"errors"
	"math"

	"eisft/internal/scratch"
	"eisft/model/kernels"
)

// The factorization that GPTQ needs, on the kernels' products, in the memory of the matrix
// itself. Products are float32 with what the kernels reach of the machine; the triangles on
// the diagonal, through which all errors pass, are float64. BenchmarkInverseFactor compares
// it with gonum's LAPACK in float64: see there for what was measured.

// triangle is how many rows are factored at once in float64.
const triangle = 64

// errIndefinite says that a pivot was not above 0.
var errIndefinite = errors.New("the matrix is not positive definite")

// inverseFactor turns a symmetric positive definite matrix a [n,n], of which it reads the
// lower triangle, into the inverse of its Cholesky factor L, a lower triangle with a = LLᵀ.
// What lies above the diagonal becomes 0.
func inverseFactor(a []float32, n int) error {
	if err := cholesky(a, n); err != nil {
		return err
	}
	for r := range n {
		clear(a[r*n+r+1 : (r+1)*n])
	}
	invertLower(a, n)
	return nil
}

// cholesky turns the lower triangle of a [n,n] into its Cholesky factor, a block of columns
// after the other: the block on the diagonal, what lies below it, and what that leaves of
// the rest.
func cholesky(a []float32, n int) error {
	diagonal := make([]float64, triangle*triangle)
	inverse := make([]float32, triangle*triangle)
	for at := 0; at < n; at += triangle {
		k := min(triangle, n-at)
		d := diagonal[:k*k]
		load(d, a[at*n+at:], k, n)
		if err := choleskyOf(d, k); err != nil {
			return err
		}
		store(a[at*n+at:], d, k, n)
		invertOf(d, k)
		store(inverse, d, k, k)
		below := n - at - k
		if below == 0 {
			return nil
		}
		// L21 = A21·L11⁻ᵀ
		l := scratch.Borrow(below * k)
		kernels.Gemm(false, true, below, k, k, 1, a[(at+k)*n+at:], n, inverse, k, 0, l, k)
		for r := range below {
			copy(a[(at+k+r)*n+at:], l[r*k:(r+1)*k])
		}
		// A22 -= L21·L21ᵀ, the lower triangle by panels
		for r := 0; r < below; r += panel {
			rows := min(panel, below-r)
			kernels.Gemm(false, true, rows, r+rows, k, -1, l[r*k:], k, l, k, 1, a[(at+k+r)*n+at+k:], n)
		}
		scratch.Release(l)
	}
	return nil
}

// invertLower inverts a lower triangle a [n,n] in place, a block of rows after the other;
// above the diagonal it must be 0.
func invertLower(a []float32, n int) {
	diagonal := make([]float64, triangle*triangle)
	inverse := make([]float32, triangle*triangle)
	for at := 0; at < n; at += triangle {
		k := min(triangle, n-at)
		d := diagonal[:k*k]
		load(d, a[at*n+at:], k, n)
		invertOf(d, k)
		store(inverse, d, k, k)
		store(a[at*n+at:], d, k, n)
		if at == 0 {
			continue
		}
		// -L11⁻¹·(L10·L00⁻¹), where the inverse of L00 is there already
		y := scratch.Borrow(k * at)
		kernels.Gemm(false, false, k, at, at, -1, a[at*n:], n, a, n, 0, y, at)
		kernels.Gemm(false, false, k, at, k, 1, inverse, k, y, at, 0, a[at*n:], n)
		scratch.Release(y)
	}
}

// load copies the lower triangle of a block [k,k] of a matrix with rows of n.
func load(d []float64, a []float32, k, n int) {
	clear(d)
	for r := range k {
		for c := range r + 1 {
			d[r*k+c] = float64(a[r*n+c])
		}
	}
}

// store is the inverse of load; what lies above the diagonal becomes 0.
func store(a []float32, d []float64, k, n int) {
	for r := range k {
		for c := range k {
			a[r*n+c] = float32(d[r*k+c])
		}
	}
}

// choleskyOf replaces the lower triangle d [k,k] by its factor.
func choleskyOf(d []float64, k int) error {
	for c := range k {
		row := d[c*k : c*k+c]
		pivot := d[c*k+c]
		for _, v := range row {
			pivot -= v * v
		}
		if !(pivot > 0) || math.IsInf(pivot, 1) {
			return errIndefinite
		}
		root := math.Sqrt(pivot)
		d[c*k+c] = root
		for r := c + 1; r < k; r++ {
			v := d[r*k+c]
			for j, w := range row {
				v -= d[r*k+j] * w
			}
			d[r*k+c] = v / root
		}
	}
	return nil
}

// invertOf inverts the lower triangle d [k,k], row by row: of a row, what is left of column c
// is not needed any more when c is replaced.
func invertOf(d []float64, k int) {
	for r := range k {
		d[r*k+r] = 1 / d[r*k+r]
		for c := range r {
			sum := 0.0
			for j := c; j < r; j++ {
				sum += d[r*k+j] * d[j*k+c]
			}
			d[r*k+c] = -sum * d[r*k+r]
		}
	}
}

package quant

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

// randomRotation returns an orthogonal matrix [n,n] and says how it was made: a Hadamard
// matrix over √n whose rows have random signs (QuaRot, arXiv 2404.00456, section 3), or
// where none is known of that size, the Q of a matrix of normal numbers.
func randomRotation(n int, random *rand.Rand) (q []float32, how string) {
	h, how := hadamard(n)
	if h == nil {
		return randomOrthogonal(n, random), fmt.Sprintf("random orthogonal %d×%d", n, n)
	}
	q = make([]float32, n*n)
	root := math.Sqrt(float64(n))
	for i := range n {
		sign := 1.0
		if random.IntN(2) == 1 {
			sign = -1
		}
		for j := range n {
			q[i*n+j] = float32(sign * float64(h[i*n+j]) / root)
		}
	}
	return q, "random Hadamard " + how
}

// randomOrthogonal is uniform over orthogonal matrices (Mezzadri, arXiv math-ph/0609050).
func randomOrthogonal(n int, random *rand.Rand) []float32 {
	a := mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			a.Set(i, j, random.NormFloat64())
		}
	}
	var qr mat.QR
	qr.Factorize(a)
	var q, r mat.Dense
	qr.QTo(&q)
	qr.RTo(&r)
	out := make([]float32, n*n)
	for i := range n {
		for j := range n {
			out[i*n+j] = float32(math.Copysign(1, r.At(j, j)) * q.At(i, j))
		}
	}
	return out
}

// hadamard returns a matrix [n,n] of 1 and −1 with orthogonal rows, and its factors: the
// Kronecker product of a power of two (Sylvester) with a matrix of Paley's constructions
// where that is needed. It is nil where these give none.
func hadamard(n int) (h []int8, how string) {
	odd := n
	for odd%2 == 0 && odd > 1 {
		odd /= 2
	}
	for m := odd; m <= n; m *= 2 {
		if p := paley(m); p != nil {
			how = fmt.Sprintf("%d×%d", n, n)
			if m > 1 {
				how = fmt.Sprintf("%d×%d (%d by %d)", n, n, n/m, m)
			}
			return sylvester(p, m, n), how
		}
	}
	return nil, ""
}

// sylvester doubles a Hadamard matrix [m,m] up to [n,n].
func sylvester(p []int8, m, n int) []int8 {
	h := make([]int8, n*n)
	for i := range n {
		for j := range n {
			v := p[i%m*m+j%m]
			for a, b := i/m, j/m; a > 0 && b > 0; a, b = a/2, b/2 {
				if a&b&1 == 1 {
					v = -v
				}
			}
			h[i*n+j] = v
		}
	}
	return h
}

// paley returns a Hadamard matrix of size n: 1, or by Paley's first construction where n−1
// is a prime of the form 4k+3 (12, 20, 24, 44, …), or by his second where n/2−1 is one of the
// form 4k+1 (28, 36, …) (Paley, J. Math. Phys. 12, 1933). It is nil of other sizes.
func paley(n int) []int8 {
	switch {
	case n == 1:
		return []int8{1}
	case n%4 != 0:
		return nil
	case prime(n - 1):
		return paleyFirst(n)
	case prime(n/2-1) && (n/2-1)%4 == 1:
		return paleySecond(n)
	}
	return nil
}

func prime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}

// residues is χ of 0 to q−1: 1 of squares modulo the prime q, −1 of others, 0 of 0.
func residues(q int) []int8 {
	chi := make([]int8, q)
	for i := 1; i < q; i++ {
		chi[i] = -1
	}
	for i := 1; i < q; i++ {
		chi[i*i%q] = 1
	}
	return chi
}

// paleyFirst is I + S with S of the Jacobsthal matrix, bordered and skew.
func paleyFirst(n int) []int8 {
	q := n - 1
	chi, h := residues(q), make([]int8, n*n)
	for i := range n {
		for j := range n {
			switch {
			case i == j || i == 0:
				h[i*n+j] = 1
			case j == 0:
				h[i*n+j] = -1
			default:
				h[i*n+j] = chi[(i-j+q)%q]
			}
		}
	}
	return h
}

// paleySecond puts 2×2 blocks in the place of the entries of the symmetric conference matrix.
func paleySecond(n int) []int8 {
	m := n / 2
	q := m - 1
	chi, h := residues(q), make([]int8, n*n)
	for i := range m {
		for j := range m {
			c := int8(1)
			switch {
			case i == j:
				c = 0
			case i > 0 && j > 0:
				c = chi[(i-j+q)%q]
			}
			block := [4]int8{c, c, c, -c}
			if c == 0 {
				block = [4]int8{1, -1, -1, -1}
			}
			for k, v := range block {
				h[(2*i+k/2)*n+2*j+k%2] = v
			}
		}
	}
	return h
}

package quant

import (
	"fmt"
	"math"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/lapack/gonum"
)

// inverseFactor64 is inverseFactor by gonum's LAPACK, in float64.
func inverseFactor64(t testing.TB, a []float32, n int) []float64 {
	t.Helper()
	x := make([]float64, n*n)
	for i, v := range a {
		x[i] = float64(v)
	}
	if !(gonum.Implementation{}).Dpotrf(blas.Lower, n, x, n) || !(gonum.Implementation{}).Dtrtri(blas.Lower, blas.NonUnit, n, x, n) {
		t.Fatal("not positive definite")
	}
	for r := range n {
		clear(x[r*n+r+1 : (r+1)*n])
	}
	return x
}

// damped returns a Hessian of fewer independent inputs than it has rows, with the damping
// that GPTQ adds: as ill-conditioned as they come.
func damped(t testing.TB, n int) []float32 {
	t.Helper()
	h := hessianOf(t, correlated(2*n, n), n, 0).Values
	mean := 0.0
	for i := range n {
		mean += float64(h[i*n+i]) / float64(n)
	}
	for i := range n {
		h[i*n+i] += float32(defaultDamping * mean)
	}
	return h
}

// TestInverseFactor compares with LAPACK in float64, for sizes around the blocks'.
func TestInverseFactor(t *testing.T) {
	for _, n := range []int{1, 2, 63, 64, 65, 320, 385} {
		a := damped(t, n)
		want := inverseFactor64(t, a, n)
		if err := inverseFactor(a, n); err != nil {
			t.Fatal(err)
		}
		diff, norm := 0.0, 0.0
		for i, w := range want {
			d := float64(a[i]) - w
			diff, norm = diff+d*d, norm+w*w
			if i%n > i/n && a[i] != 0 {
				t.Fatalf("%d rows: %g above the diagonal", n, a[i])
			}
		}
		if e := math.Sqrt(diff / norm); e > 2e-5 {
			t.Errorf("%d rows: relative error %.2g", n, e)
		}
	}
	if err := inverseFactor([]float32{1, 0, 2, 1}, 2); err == nil {
		t.Error("a matrix with a negative eigenvalue was factored")
	}
}

// BenchmarkInverseFactor compares float32 on the kernels' products with gonum's LAPACK in
// float64.
func BenchmarkInverseFactor(b *testing.B) {
	for _, n := range []int{896, 2048} {
		a := damped(b, n)
		b.Run(fmt.Sprintf("%d/kernels", n), func(b *testing.B) {
			for b.Loop() {
				if err := inverseFactor(append([]float32{}, a...), n); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/gonum", n), func(b *testing.B) {
			for b.Loop() {
				inverseFactor64(b, a, n)
			}
		})
	}
}

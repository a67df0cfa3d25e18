package kernels

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Peak returns the floating-point operations per second that a matrix product reaches here at this moment: the best of
// some products of matrices that fit the caches of any machine, computed by the built-in kernels and by OpenBLAS where
// it can be opened, even if nothing else uses it.
func Peak() float64 {
	const n, times = 768, 5
	r := rand.New(rand.NewPCG(1, 2))
	a, b, c := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	for i := range a {
		a[i], b[i] = r.Float32(), r.Float32()
	}
	best := time.Duration(1 << 62)
	ways := []*openBLAS{backend().blas}
	if lib := peakLibrary(); lib != nil && lib != ways[0] {
		ways = append(ways, lib)
	}
	for range times {
		for _, lib := range ways {
			p := newProduct(false, false, n, n, n, 1, a, n, b, n, 0, c, n)
			p.blas = lib
			start := time.Now()
			p.runParallel()
			best = min(best, time.Since(start))
		}
	}
	return 2 * n * n * n / best.Seconds()
}

// ReadRate returns the bytes per second at which all cores together read some data, doing next to nothing with it:
// the best of some times.
func ReadRate(data [][]byte) float64 {
	const piece, times = 1 << 18, 3
	var pieces [][]byte
	total := 0
	for _, d := range data {
		pieces = slices.AppendSeq(pieces, slices.Chunk(d, piece))
		total += len(d)
	}
	best := time.Duration(1 << 62)
	for range times {
		start := time.Now()
		Parallel(len(pieces), 1, func(lo, hi int) {
			for _, p := range pieces[lo:hi] {
				orAll(p)
			}
		})
		best = min(best, time.Since(start))
	}
	return float64(total) / best.Seconds()
}

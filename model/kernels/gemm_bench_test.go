package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

func gonumGemm(p *product) {
	trans := map[bool]blas.Transpose{false: blas.NoTrans, true: blas.Trans}
	gonum.Implementation{}.Sgemm(trans[p.ta], trans[p.tb], p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb,
		p.beta, p.c, p.ldc)
}

// BenchmarkGemm compares the ways to compute a product on all cores at the sizes of the demo model. GFLOP/s is that
// of the fastest run, which other work on the machine disturbs least; mean-GFLOP/s that of all runs.
func BenchmarkGemm(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, s := range []struct {
		name    string
		ta, tb  bool
		m, n, k int
		pad     int // added to the strides
	}{
		{"linear", false, true, 256, 256, 256, 0},
		{"linear", false, true, 256, 128, 256, 0},
		{"linear", false, true, 256, 768, 256, 0},
		{"linear", false, true, 256, 256, 768, 0},
		{"logits", false, true, 256, 4096, 256, 0},
		{"input-gradient", false, false, 256, 256, 768, 0},
		{"weight-gradient", true, false, 768, 256, 256, 0},
		{"scores", false, true, 256, 776, 64, 192},
		{"values", false, false, 256, 64, 776, 192},
		{"vector", false, true, 1, 768, 256, 0},
		{"vector", false, true, 1, 256, 768, 0},
		{"vector", false, true, 1, 4096, 256, 0},
		{"vector-large", false, true, 1, 8192, 2048, 0},
		{"few-rows", false, true, 4, 4096, 256, 0},
		{"few-rows", false, true, 8, 768, 256, 0},
		{"few-rows", false, true, 16, 768, 256, 0},
		{"few-rows", false, true, 32, 768, 256, 0},
		{"vector-values", false, false, 1, 64, 776, 192},
	} {
		p := randomProduct(r, s.ta, s.tb, s.m, s.n, s.k, s.pad, 1, 0)
		for _, w := range gemmWays() {
			b.Run(fmt.Sprintf("%s/m=%d/n=%d/k=%d/%s", s.name, s.m, s.n, s.k, w.name), func(b *testing.B) {
				best := time.Duration(1 << 62)
				for b.Loop() {
					start := time.Now()
					w.run(&p)
					best = min(best, time.Since(start))
				}
				flop := 2 * float64(s.m*s.n*s.k)
				b.ReportMetric(flop/float64(best.Nanoseconds()), "GFLOP/s")
				b.ReportMetric(flop*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "mean-GFLOP/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

type gemmWay struct {
	name string
	run  func(p *product)
}

// gemmWays lists what can compute a product here, OpenBLAS only where there is one.
func gemmWays() []gemmWay {
	with := func(blas *openBLAS) func(p *product) {
		return func(p *product) {
			p.blas = blas
			p.runParallel()
		}
	}
	ways := []gemmWay{{"built-in", with(nil)}, {"gonum", gonumGemm}}
	if lib := peakLibrary(); lib != nil {
		ways = append([]gemmWay{{"OpenBLAS", with(lib)}}, ways...)
	}
	return ways
}

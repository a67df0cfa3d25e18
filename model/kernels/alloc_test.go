//go:build !race

package kernels

// The race detector makes sync.Pool forget at random, so these tests are not for it.

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// allocations returns how many allocations a call of f makes. (testing.AllocsPerRun leaves only one core.)
func allocations(f func()) float64 {
	const runs = 100
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / runs
}

func TestParallelAllocatesNothing(t *testing.T) {
	f, g := func(lo, hi int) {}, func(i int) {}
	if n := allocations(func() { Parallel(1000, 1, f); Each(1000, g) }); n >= 0.5 {
		t.Errorf("%v allocations", n)
	}
}

func TestGemmAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(32, 33))
	big := randomProduct(r, true, false, 128, 128, 128, 0, 1, 0)
	few := randomProduct(r, false, true, 1, 512, 512, 0, 1, 0)
	w, x, dst := make([]byte, 2*512*512), make([]float32, 512), make([]float32, 512)
	for name, f := range map[string]func(){
		"Gemm":       func() { gemm(&big) },
		"GemmSerial": func() { gemmSerial(&big) },
		"few rows":   func() { gemm(&few) },
		"built-in":   func() { builtinGemm(&big) },
		"GemmStored": func() { GemmStored(1, 512, 512, x, StoredBF16(w), dst) },
	} {
		if n := allocations(f); n >= 0.5 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

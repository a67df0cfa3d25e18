package kernels

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestParallelCoversEveryIndexOnce(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 7, 64, 1001} {
		for _, grain := range []int{0, 1, 5, 64, 5000} {
			seen := make([]int32, n)
			calls := int32(0)
			Parallel(n, grain, func(lo, hi int) {
				atomic.AddInt32(&calls, 1)
				for i := lo; i < hi; i++ {
					atomic.AddInt32(&seen[i], 1)
				}
			})
			for i, c := range seen {
				if c != 1 {
					t.Fatalf("n=%d grain=%d: index %d visited %d times", n, grain, i, c)
				}
			}
			if n > 0 && n <= grain && calls != 1 {
				t.Errorf("n=%d grain=%d: %d calls, want 1", n, grain, calls)
			}
		}
	}
}

func TestEachVisitsEveryItemOnce(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 1001} {
		seen := make([]int32, n)
		Each(n, func(i int) { atomic.AddInt32(&seen[i], 1) })
		for i, c := range seen {
			if c != 1 {
				t.Fatalf("n=%d: item %d visited %d times", n, i, c)
			}
		}
	}
}

func TestNestedAndConcurrentLoopsNeverUseMoreThanTheCores(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	before := workers.started
	var running, most atomic.Int32
	leaf := func(int) {
		now := running.Add(1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		runtime.Gosched()
		running.Add(-1)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 50 {
				Each(8, func(int) { Parallel(8, 1, func(lo, hi int) { Each(hi-lo, leaf) }) })
			}
		})
	}
	wg.Wait()
	if got := most.Load(); got > 4 { // two callers and two helpers
		t.Errorf("%d leaves ran at once on 3 cores for 2 callers", got)
	}
	if idle := len(workers.idle); idle != workers.started || idle > max(before, 2) {
		t.Errorf("%d of %d workers are idle, want all, and at most 2 started on 3 cores", idle, workers.started)
	}
}

// BenchmarkParallel shows what a loop over the cores costs: two chunks of about 50 µs against both in turn.
func BenchmarkParallel(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	x := matrix(r, 1, 4096, 4096)
	chunk := func(lo, hi int) {
		for range hi - lo {
			sink.Store(int32(Dot(x, x)))
		}
	}
	b.Run("serial", func(b *testing.B) {
		for b.Loop() {
			chunk(0, 64)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		for b.Loop() {
			Parallel(64, 1, chunk)
		}
	})
	b.Run("each", func(b *testing.B) {
		for b.Loop() {
			Each(64, func(i int) { chunk(i, i+1) })
		}
	})
	b.Run("empty", func(b *testing.B) {
		for b.Loop() {
			Parallel(64, 1, func(lo, hi int) {})
		}
	})
}

var sink atomic.Int32

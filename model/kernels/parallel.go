package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Threads returns the number of cores the package uses: GOMAXPROCS.
func Threads() int { return runtime.GOMAXPROCS(0) }

// helpers counts the goroutines that run beside the callers of Parallel and Each. It never exceeds Threads()-1, so
// a nested call finds no helper free and runs serially on its caller; nobody ever waits for a helper to get free.
var helpers atomic.Int32

// job is one parallel loop. Chunks are handed out through next, so a helper that starts late costs nothing.
type job struct {
	span    func(lo, hi int)
	item    func(i int)
	n, step int
	next    atomic.Int64
	done    sync.WaitGroup
	help    func() // bound once: a go statement on it allocates nothing
}

var jobs = sync.Pool{New: func() any {
	j := new(job)
	j.help = func() {
		j.work()
		helpers.Add(-1)
		j.done.Done()
	}
	return j
}}

// Parallel calls f on contiguous chunks covering [0, n) on all cores and returns when all are done. It calls
// f(0, n) itself when n <= grain, the size below which a chunk is not worth a core.
func Parallel(n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1)
	chunks := min(Threads(), (n+grain-1)/grain)
	if chunks < 2 {
		f(0, n)
		return
	}
	runJob(n, (n+chunks-1)/chunks, f, nil)
}

// Each calls f(i) for 0 <= i < n, handing the items out to the cores one by one, and returns when all are done.
func Each(n int, f func(i int)) {
	if n < 2 || Threads() < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	runJob(n, 1, nil, f)
}

func runJob(n, step int, span func(lo, hi int), item func(i int)) {
	j := jobs.Get().(*job)
	j.span, j.item, j.n, j.step = span, item, n, step
	j.next.Store(0)
	for range acquire((n+step-1)/step - 1) {
		j.done.Add(1)
		go j.help()
	}
	j.work()
	j.done.Wait()
	j.span, j.item = nil, nil
	jobs.Put(j)
}

// acquire reserves up to want helpers and returns how many it got.
func acquire(want int) int {
	limit := Threads() - 1
	for {
		busy := helpers.Load()
		got := min(want, limit-int(busy))
		if got <= 0 {
			return 0
		}
		if helpers.CompareAndSwap(busy, busy+int32(got)) {
			return got
		}
	}
}

func (j *job) work() {
	for {
		lo := int(j.next.Add(int64(j.step))) - j.step
		if lo >= j.n {
			return
		}
		if j.item != nil {
			j.item(lo)
		} else {
			j.span(lo, min(lo+j.step, j.n))
		}
	}
}

package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"

	"eisft/internal/mapped"
)

// Threads returns the number of cores the package uses: GOMAXPROCS.
func Threads() int { return runtime.GOMAXPROCS(0) }

// Parallel calls f on contiguous chunks covering [0, n) on all cores and returns when all are done. It calls
// f(0, n) itself when n <= grain, the size below which a chunk is not worth a core. Calls may be nested: where all
// cores are taken, the chunks run one after another on the caller.
func Parallel(n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1)
	chunks := (n + grain - 1) / grain
	threads := Threads()
	if chunks < 2 || threads < 2 {
		f(0, n)
		return
	}
	chunks = min(chunks, chunksPerThread*threads)
	runJob(n, (n+chunks-1)/chunks, f, nil)
}

// chunksPerThread evens out what the cores do when one of them starts late or has other work.
const chunksPerThread = 4

// Each calls f(i) for 0 <= i < n, handing the items out to the cores one by one, and returns when all are done. Calls
// may be nested like those of [Parallel].
func Each(n int, f func(i int)) {
	if n < 2 || Threads() < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	runJob(n, 1, nil, f)
}

// job is one parallel loop. Its caller and the workers that help take the chunks in turn, so a worker that wakes
// late delays nothing: when the chunks are gone, the caller takes back what the worker has not begun.
type job struct {
	span    func(lo, hi int)
	item    func(i int)
	n, step int
	next    atomic.Int64
	team    []*worker
	helping atomic.Int32 // how many of the team have not finished
	fault   atomic.Pointer[mapped.Error]
	alone   waiter // for nobody helping
}

var jobs = sync.Pool{New: func() any {
	j := new(job)
	j.alone.init(func() bool { return j.helping.Load() == 0 })
	return j
}}

func runJob(n, step int, span func(lo, hi int), item func(i int)) {
	j := jobs.Get().(*job)
	j.span, j.item, j.n, j.step = span, item, n, step
	j.next.Store(0)
	j.team = hire(j.team[:0], (n+step-1)/step-1)
	j.helping.Store(int32(len(j.team)))
	for _, w := range j.team {
		w.job.Store(j)
		w.called.notify()
	}
	j.guarded()
	for _, w := range j.team {
		if w.job.CompareAndSwap(j, nil) {
			dismiss(w)
			j.helping.Add(-1)
		}
	}
	j.alone.wait()
	fault := j.fault.Swap(nil)
	j.span, j.item = nil, nil
	jobs.Put(j)
	if fault != nil {
		panic(fault)
	}
}

// guarded works, and keeps a fault in a mapped file for the caller, where it goes on when nobody
// works any more.
func (j *job) guarded() {
	defer mapped.Recover(func(e *mapped.Error) {
		j.fault.Store(e)
		j.next.Store(int64(j.n))
	})
	j.work()
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

// worker is a goroutine that helps with jobs, one caller's at a time.
type worker struct {
	job    atomic.Pointer[job] // what to help with; whoever sets it back to nil, worker or caller, has it
	called waiter              // for a job
}

func startWorker() *worker {
	w := new(worker)
	w.called.init(func() bool { return w.job.Load() != nil })
	go w.run()
	return w
}

func (w *worker) run() {
	mapped.Watch()
	for {
		w.called.wait()
		if j := w.job.Swap(nil); j != nil {
			j.guarded()
			dismiss(w)
			if j.helping.Add(-1) == 0 {
				j.alone.notify()
			}
		}
	}
}

// workers are those there are, of which at most Threads()-1 are busy. Nobody waits for one: a nested loop finds none
// idle and does its work itself.
var workers struct {
	sync.Mutex
	idle    []*worker // the last one stopped last and is likely still awake
	started int
}

// hire appends up to n workers to team, as many as are to be had.
func hire(team []*worker, n int) []*worker {
	workers.Lock()
	defer workers.Unlock()
	n = min(n, Threads()-1-(workers.started-len(workers.idle)))
	for range n {
		last := len(workers.idle) - 1
		if last < 0 {
			team = append(team, startWorker())
			workers.started++
			continue
		}
		team = append(team, workers.idle[last])
		workers.idle = workers.idle[:last]
	}
	return team
}

func dismiss(w *worker) {
	workers.Lock()
	workers.idle = append(workers.idle, w)
	workers.Unlock()
}

// waiter lets one goroutine wait until ready is true. It spins for a while before it parks, since waking a parked
// thread takes as long as a short chunk of work.
type waiter struct {
	ready  func() bool
	parked atomic.Bool
	wake   chan struct{} // holds at most one token; one too many only makes wait look again
}

// spins is the number of times wait looks before it parks, some 200 µs: as long as the serial work between two loops
// usually takes. A loop of 40 µs takes 22 µs on two cores when its worker is awake, and 40 µs when it is not.
const spins = 1 << 16

func (w *waiter) init(ready func() bool) {
	w.ready, w.wake = ready, make(chan struct{}, 1)
}

func (w *waiter) wait() {
	for range spins {
		if w.ready() {
			return
		}
	}
	for !w.ready() {
		w.parked.Store(true)
		if !w.ready() {
			<-w.wake
		}
		w.parked.Store(false)
	}
}

// notify follows what makes ready true.
func (w *waiter) notify() {
	if w.parked.Load() {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

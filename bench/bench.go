// Package bench measures how fast a model does what a user waits for: reading,
// training, decoding, calibrating and exporting. Every case runs beside a large
// matrix product, so that its figures are shares of what the machine reaches in
// the same moment.
package bench

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"eisft/internal/peakmem"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/model/kernels"
)

// Options say what is measured.
type Options struct {
	// Cases are the beginnings of the names of the cases to run; none: all.
	Cases []string
	// Runs is how many times each case is timed, after one run that is not.
	Runs int
	// Seed is that of the token ids.
	Seed uint64
	// Cache is how keys and values are held where a text is read or written; "": in float32.
	Cache model.CacheType
	// Scratch is an existing folder that the export case may write to.
	Scratch string
	// BaseDir is the folder that the model's base was loaded from.
	BaseDir string
	// Progress receives the progress line (nil: none), usually os.Stderr.
	Progress io.Writer
}

// Report is what Run measured.
type Report struct {
	Products string   `json:"products"` // what computes matrix products
	Threads  int      `json:"threads"`
	Cases    []Result `json:"cases"`
}

// Result is one case. Rates are per second, medians over the runs.
type Result struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	// CPU are the seconds that all cores together worked, which other work on the machine
	// changes less; 0: the system does not tell.
	CPU    float64 `json:"cpu_seconds,omitempty"`
	Tokens int     `json:"tokens,omitempty"`
	// FLOP are the floating-point operations of the matrix products that the
	// case's formulas need, whatever else is computed; 0: there are none to count.
	FLOP float64 `json:"flop,omitempty"`
	// Share is FLOP per second over what a large matrix product reaches between
	// the runs.
	Share float64 `json:"share_of_gemm_peak,omitempty"`
	// ReadShare is the share of what a plain read of the weights reaches between
	// the runs, in bytes per second, for a case that is bound by reading them.
	ReadShare float64 `json:"share_of_read_rate,omitempty"`
	// Peak is the most memory that was resident, in bytes; 0: the system does not
	// tell.
	Peak int64 `json:"peak_bytes,omitempty"`
}

// TokensPerSecond is 0 for a case that reads no tokens.
func (r Result) TokensPerSecond() float64 { return float64(r.Tokens) / r.Seconds }

// Run measures a model with an untrained or trained block.
func Run(ctx context.Context, m *model.Model, o Options) (*Report, error) {
	if o.Runs < 1 {
		return nil, fmt.Errorf("runs is %d; it must be at least 1", o.Runs)
	}
	cases, err := chosen(newWorkload(m, o).cases(), o.Cases)
	if err != nil {
		return nil, err
	}
	report := &Report{Products: kernels.Backend(), Threads: kernels.Threads()}
	line := progress.Start(o.Progress, progress.Task{What: "measuring", Unit: "cases", Total: len(cases)})
	defer line.End()
	for _, c := range cases {
		r, err := c.measure(ctx, o.Runs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		report.Cases = append(report.Cases, r)
		line.Add(1)
	}
	return report, nil
}

// chosen returns the cases whose names begin with one of the given beginnings.
func chosen(cases []benchCase, beginnings []string) ([]benchCase, error) {
	if len(beginnings) == 0 {
		return cases, nil
	}
	var out []benchCase
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
		if slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(c.name, b) }) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no case is called %s; there are: %s", strings.Join(beginnings, " or "), strings.Join(names, ", "))
	}
	return out, nil
}

// benchCase is something to time.
type benchCase struct {
	name   string
	tokens int
	// count, if not nil, says what the case takes.
	count func() (need, error)
	// weights are what stands for the bytes that it needs in a plain read.
	weights [][]byte
	// prepare does what is not timed and returns what is.
	prepare func(ctx context.Context) (func(ctx context.Context) error, error)
}

// measure times the case after a run that fills caches and pools.
func (c benchCase) measure(ctx context.Context, runs int) (Result, error) {
	debug.FreeOSMemory()
	peakmem.Reset()
	if _, _, err := c.time(ctx); err != nil {
		return Result{}, err
	}
	var need need
	if c.count != nil {
		var err error
		if need, err = c.count(); err != nil {
			return Result{}, err
		}
	}
	r := Result{Name: c.name, Tokens: c.tokens, FLOP: need.flop}
	var seconds, cpus, shares, reads []float64
	for range runs {
		peak, rate := kernels.Peak(), 0.0
		if need.bytes > 0 {
			rate = kernels.ReadRate(c.weights)
		}
		s, cpu, err := c.time(ctx)
		if err != nil {
			return Result{}, err
		}
		seconds, cpus, shares = append(seconds, s), append(cpus, cpu), append(shares, need.flop/s/peak)
		if rate > 0 {
			reads = append(reads, need.bytes/s/rate)
		}
	}
	r.Seconds, r.CPU, r.Share, r.Peak = median(seconds), median(cpus), median(shares), peakmem.Peak()
	if len(reads) > 0 {
		r.ReadShare = median(reads)
	}
	return r, nil
}

// time runs the case once and returns the seconds it took, and those that cores worked.
func (c benchCase) time(ctx context.Context) (seconds, cpu float64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	run, err := c.prepare(ctx)
	if err != nil {
		return 0, 0, err
	}
	start, before := time.Now(), cpuSeconds()
	err = run(ctx)
	return time.Since(start).Seconds(), cpuSeconds() - before, err
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

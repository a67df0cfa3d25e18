package plan

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// CPUTime is the time that all of the process has computed: what one thread alone takes, whatever
// else the machine does.
func CPUTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// MeasureThread measures one thread of this machine by CPUTime.
func MeasureThread(ctx context.Context, t testing.TB) (*Device, error) {
	return (&meter{ctx: ctx, dir: t.TempDir(), clock: CPUTime, threads: 1, runs: measuredRuns}).device()
}

// MeasureOnce measures this machine by one run of each graph, which says little.
func MeasureOnce(ctx context.Context, t testing.TB) (*Device, error) {
	return (&meter{ctx: ctx, dir: t.TempDir(), clock: Elapsed, runs: 1}).device()
}

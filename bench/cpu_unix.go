//go:build unix

package bench

import "golang.org/x/sys/unix"

// cpuSeconds returns how long this process has worked, on all cores together.
func cpuSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

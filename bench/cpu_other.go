//go:build !unix

package bench

// cpuSeconds returns 0: the system does not tell.
func cpuSeconds() float64 { return 0 }

//go:build linux || darwin

package model

import (
	"math"

	"golang.org/x/sys/unix"
)

// addressSpace returns the bytes of memory that the process may map in all.
func addressSpace() int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) != nil || limit.Cur > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(limit.Cur)
}

//go:build linux || darwin

package model

import (
	"math"

	"golang.org/x/sys/unix"
)

// AddressSpace returns the bytes of memory that the process may map in all.
func AddressSpace() int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) != nil || limit.Cur > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(limit.Cur)
}

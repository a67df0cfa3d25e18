//go:build !(linux || darwin)

package model

import "math"

// AddressSpace returns the bytes of memory that the process may map in all: it is not asked here.
func AddressSpace() int64 { return math.MaxInt64 }

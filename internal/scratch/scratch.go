// Package scratch lends float32 buffers that are used for a moment and given back,
// so that a forward or training step allocates nothing large.
package scratch

import (
	"math/bits"
	"sync"
)

// pools holds buffers between uses, by size class: class c has capacity 2^c.
var pools [48]sync.Pool

// Borrow returns a buffer of n floats with arbitrary content. It goes back
// with Release.
func Borrow(n int) []float32 {
	if n == 0 {
		return nil
	}
	c := bits.Len(uint(n - 1))
	if b, ok := pools[c].Get().(*[]float32); ok {
		return (*b)[:n]
	}
	return make([]float32, n, 1<<c)
}

// BorrowZero is Borrow with zeros.
func BorrowZero(n int) []float32 {
	b := Borrow(n)
	clear(b)
	return b
}

// Release returns buffers of Borrow; nil is allowed.
func Release(buffers ...[]float32) {
	for _, b := range buffers {
		if cap(b) == 0 {
			continue
		}
		b = b[:cap(b)]
		pools[bits.Len(uint(cap(b)-1))].Put(&b)
	}
}

// Package kernels holds the dense float32 kernels everything else computes with: matrix products, softmax, norms,
// rotary embedding, activations and the conversions of 16-bit weights.
//
// All of them work on plain slices holding row-major matrices, allocate nothing and know neither models nor
// Gorgonia. Matrix products run on the package's own kernels, or on OpenBLAS where it can be opened at run time and was
// measured to be clearly faster (see [Measured]). Results do not depend on the number of cores, nor those of a row on
// the rows beside it. A shape that does not fit its slices is a programming error and panics.
package kernels

//go:generate go run -C asm . -out ../asm_amd64.s -stubs ../asm_amd64.go -pkg kernels
//go:generate go run -C asm ./neon -out ../asm_arm64.s -stubs ../asm_arm64.go

import (
	"fmt"
	"math"
)

// Dot returns the sum of a[i]*b[i]. b is at least as long as a.
func Dot(a, b []float32) float32 {
	return dot(a, b[:len(a)])
}

// IsZero says whether all of x is zero.
func IsZero(x []float32) bool {
	for _, v := range x {
		if v != 0 {
			return false
		}
	}
	return true
}

// Axpy adds alpha*x to y, which is at least as long as x.
func Axpy(alpha float32, x, y []float32) {
	axpy(alpha, x, y[:len(x)])
}

// Add adds x to dst, which is at least as long as x.
func Add(dst, x []float32) {
	add(dst[:len(x)], x)
}

// Mul multiplies dst, which is at least as long as x, by x element by element.
func Mul(dst, x []float32) {
	mul(dst[:len(x)], x)
}

// Scale multiplies x by alpha.
func Scale(alpha float32, x []float32) {
	scale(alpha, x)
}

// Fake replaces x by scale times the nearest whole number to x/scale, that is, by what a code stands for that has the
// steps lo to hi, which are whole numbers, around that of zero.
func Fake(x []float32, scale, lo, hi float32) {
	fake(x, scale, lo, hi)
}

// Nearest rounds x to the nearest whole number within whole limits, ties to even.
func Nearest(x, lo, hi float32) float32 {
	if x < lo {
		return lo
	}
	if x > hi {
		return hi
	}
	return float32(math.RoundToEven(float64(x)))
}

// ArgMax returns the index of the first largest element of x, NaN aside, and -1 when there is none.
func ArgMax(x []float32) int {
	best, at := float32(math.Inf(-1)), -1
	for i, v := range x {
		if v > best || (at < 0 && v == best) {
			best, at = v, i
		}
	}
	return at
}

// Transpose writes the transpose of src [rows, cols] to dst [cols, rows]. They must not overlap.
func Transpose(dst, src []float32, rows, cols int) {
	need("Transpose: dst", len(dst), rows*cols)
	need("Transpose: src", len(src), rows*cols)
	const tile = 16 // one tile of either side stays in L1
	for r0 := 0; r0 < rows; r0 += tile {
		r1 := min(r0+tile, rows)
		for c0 := 0; c0 < cols; c0 += tile {
			c1 := min(c0+tile, cols)
			for r := r0; r < r1; r++ {
				for c := c0; c < c1; c++ {
					dst[c*rows+r] = src[r*cols+c]
				}
			}
		}
	}
}

// need panics when a slice is shorter than the shape it is said to hold.
func need(what string, have, want int) {
	if have < want {
		panic(fmt.Sprintf("kernels: %s has %d elements, its shape needs %d", what, have, want))
	}
}

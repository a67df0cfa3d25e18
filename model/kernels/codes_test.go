package kernels

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// TestHalvesAgreeWithPlainGo: rounding to float16 gives the bits of plain Go, NaN and what is beyond its range included.
func TestHalvesAgreeWithPlainGo(t *testing.T) {
	r := rand.New(rand.NewPCG(50, 51))
	for _, n := range append(oddSizes, len(specials)) {
		x := normals(r, n, 1)
		for i := range x {
			x[i] = math.Float32frombits(r.Uint32()) // of all sizes
		}
		if n == len(specials) {
			copy(x, specials)
		}
		got, want := make([]byte, 2*n+1), make([]byte, 2*n+1)
		F32ToF16(got, x)
		f32sToF16Go(want, x)
		if !bytes.Equal(got, want) {
			t.Errorf("%v: %x, want %x", x, got, want)
		}
	}
}

// TestI8: codes are the nearest ones with the largest number at ±127, and all kernels widen them alike.
func TestI8(t *testing.T) {
	r := rand.New(rand.NewPCG(52, 53))
	inf := float32(math.Inf(1))
	for _, n := range []int{0, 32, 64, 352} {
		for _, size := range []float64{1, 1e-3, 1e30, 1e-44} {
			x := normals(r, n, size)
			data, wide, plain := make([]byte, I8Bytes(n)), make([]float32, n), make([]float32, n)
			F32ToI8(data, x)
			I8ToF32(wide, data)
			widenI8Go(plain, data)
			if !sameBits(wide, plain) {
				t.Fatalf("%v, want %v", wide, plain)
			}
			for i := range x {
				block := x[i/I8Block*I8Block:][:I8Block]
				var largest float64
				for _, v := range block {
					largest = max(largest, math.Abs(float64(v)))
				}
				if off := math.Abs(float64(wide[i]) - float64(x[i])); off > largest/127*0.5001+math.SmallestNonzeroFloat32*64 {
					t.Errorf("%g became %g, the largest is %g", x[i], wide[i], largest)
				}
			}
		}
	}
	for _, bad := range []float32{inf, -inf, float32(math.NaN())} {
		x, data := normals(r, 64, 1), make([]byte, I8Bytes(64))
		x[3] = bad
		F32ToI8(data, x)
		I8ToF32(x, data)
		if x[0] == x[0] || x[31] == x[31] || x[32] != x[32] {
			t.Errorf("with %g, blocks begin with %g and %g, want NaN and a number", bad, x[0], x[32])
		}
	}
}

// TestI8AgreesWithPlainGo: rounding gives the bytes of plain Go, whatever the numbers and wherever they are in a block.
func TestI8AgreesWithPlainGo(t *testing.T) {
	r := rand.New(rand.NewPCG(56, 57))
	check := func(x []float32) {
		t.Helper()
		got, want := make([]byte, I8Bytes(len(x))+1), make([]byte, I8Bytes(len(x))+1)
		F32ToI8(got, x)
		roundI8Go(want, x)
		if !bytes.Equal(got, want) {
			t.Errorf("%v: %x, want %x", x, got, want)
		}
	}
	for _, size := range []float64{1, 1e-3, 1e30, 1e-37, 1e-43} {
		check(normals(r, 320, size))
	}
	halfway := make([]float32, I8Block) // numbers between two codes
	for i := range halfway {
		halfway[i] = float32(i) - 15.5
	}
	halfway[7] = 127
	check(halfway)
	for at := range I8Block {
		for _, v := range append(specials, math.MaxFloat32, -math.MaxFloat32) {
			x := normals(r, 3*I8Block, 1)
			x[I8Block+at] = v
			check(x)
			clear(x)
			x[at] = v
			check(x)
		}
	}
	for range 300 {
		x := make([]float32, I8Block)
		for i := range x {
			x[i] = math.Float32frombits(r.Uint32())
		}
		check(x)
	}
}

// TestPackStored: a factor as it is stored gives the bits of the same numbers in float32, packed, from any row on.
func TestPackStored(t *testing.T) {
	r := rand.New(rand.NewPCG(54, 55))
	for _, s := range []struct{ n, k int }{{15, 64}, {33, 96}, {70, 288}} {
		x := normals(r, s.n*s.k, 1)
		half, codes := make([]byte, 2*len(x)), make([]byte, I8Bytes(len(x)))
		F32ToF16(half, x)
		F32ToI8(codes, x)
		for name, w := range map[string]Stored{"F16": StoredF16(half), "I8": StoredI8(codes)} {
			wide := make([]float32, len(x))
			w.Widen(wide, w.Data)
			for _, m := range []int{1, 13} {
				a := normals(r, m*s.k, 1)
				for from := 0; from < s.n; from += 2 * PackedColumns {
					eachWay(func(way string) {
						n := s.n - from
						got, want := make([]float32, m*n), make([]float32, m*n)
						factor := newFactor(true, s.n, s.k, wide, s.k)
						factor.blas = nil
						packed := Packed{factor}.pack(make([]float32, PackedSize(s.n, s.k)))
						GemmPackedSerial(false, m, n, s.k, 0.3, a, s.k, packed.From(0, from), 0, want, n)
						GemmPackedSerial(false, m, n, s.k, 0.3, a, s.k, PackStored(s.n, s.k, w).From(0, from), 0, got, n)
						if !sameBits(got, want) {
							t.Errorf("%s, %s, %d rows with [%d, %d] from %d: other bits", way, name, m, s.n, s.k, from)
						}
					})
				}
			}
		}
	}
}

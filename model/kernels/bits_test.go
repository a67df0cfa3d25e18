package kernels

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"
)

// TestAssemblyHasTheSameBitsOnAllProcessors compares what the kernels in assembly compute with a hash of it: those for
// AVX2, AVX-512 and NEON add up in the same order and round in the same places.
func TestAssemblyHasTheSameBitsOnAllProcessors(t *testing.T) {
	if !useVectors() {
		t.Skip("no kernels in assembly here")
	}
	r := rand.New(rand.NewPCG(60, 61))
	numbers := func(n int) []float32 { // by no function that rounds as the processor pleases
		x := make([]float32, n)
		for i := range x {
			x[i] = 32*r.Float32() - 16
		}
		return x
	}
	for _, c := range []struct {
		name string
		want uint32
		of   func(put func(x ...float32))
	}{
		{"elements", 0xa166a475, func(put func(x ...float32)) {
			for _, k := range twins {
				for _, n := range oddSizes {
					p, q := numbers(n), numbers(n)
					k.kernel(p, q, numbers(n), numbers(n), numbers(n))
					put(p...)
					put(q...)
				}
			}
		}},
		{"sums", 0x49e15e01, func(put func(x ...float32)) {
			for _, n := range oddSizes {
				a, b, c, p := numbers(n), numbers(n), numbers(n), make([]float32, n)
				m := maxOf(a)
				put(dot(a, b), dot3(a, b, c), m, sumExp(a, m), expSum(p, a, m))
				put(p...)
			}
		}},
		{"rotation", 0x3bdb5491, func(put func(x ...float32)) {
			for _, half := range []int{8, 16, 40} {
				x, y := numbers(6*half), make([]float32, 6*half)
				rotate(y, x, 3, half, numbers(half), numbers(half), -1)
				put(y...)
			}
		}},
		{"products", 0xe3791ae9, func(put func(x ...float32)) {
			for _, s := range gemmShapes {
				for mode := range 4 {
					p := product{ta: mode&1 != 0, tb: mode&2 != 0, m: s.m, n: s.n, k: s.k, alpha: 0.3, beta: float32(mode / 2)}
					p.a, p.b, p.c = numbers(s.m*s.k), numbers(s.n*s.k), numbers(s.m*s.n)
					p.lda, p.ldb, p.ldc = s.k, s.n, s.n
					if p.ta {
						p.lda = s.m
					}
					if p.tb {
						p.ldb = s.k
					}
					builtinGemm(&p)
					put(p.c...)
				}
			}
		}},
	} {
		hash := fnv.New32a()
		c.of(func(x ...float32) {
			for _, v := range x {
				var b [4]byte
				binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
				_, _ = hash.Write(b[:])
			}
		})
		if got := hash.Sum32(); got != c.want {
			t.Errorf("%s: other bits, %#08x, want %#08x", c.name, got, c.want)
		}
	}
}

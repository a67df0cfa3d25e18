package kernels

import (
	"math/rand/v2"
	"testing"
	"time"
)

// fastest runs f b.N times and reports the least time an element took, the figure other work on the machine disturbs
// least.
func fastest(b *testing.B, elements int, f func()) {
	best := time.Duration(1 << 62)
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(best.Nanoseconds())/float64(elements), "ns/element")
}

// BenchmarkVector compares the elementwise kernels with those of AVX2 and their plain Go forms on rows that fit the L1 cache.
func BenchmarkVector(b *testing.B) {
	const n = 1024
	r := rand.New(rand.NewPCG(40, 41))
	x, y, z, p, q := normals(r, n, 2), normals(r, n, 2), normals(r, n, 2), make([]float32, n), make([]float32, n)
	for _, k := range twins {
		b.Run(k.name+"/kernel", func(b *testing.B) { fastest(b, n, func() { k.kernel(p, q, x, y, z) }) })
		b.Run(k.name+"/AVX2", func(b *testing.B) {
			withoutAVX512(func() { fastest(b, n, func() { k.kernel(p, q, x, y, z) }) })
		})
		b.Run(k.name+"/plain", func(b *testing.B) { fastest(b, n, func() { k.ref(p, q, x, y, z) }) })
	}
	b.Run("dot/kernel", func(b *testing.B) { fastest(b, n, func() { p[0] = dot(x, y) }) })
	b.Run("dot/plain", func(b *testing.B) { fastest(b, n, func() { p[0] = dotGo(x, y) }) })
	b.Run("Softmax/kernel", func(b *testing.B) { fastest(b, n, func() { copy(p, x); Softmax(p) }) })
	b.Run("Softmax/AVX2", func(b *testing.B) {
		withoutAVX512(func() { fastest(b, n, func() { copy(p, x); Softmax(p) }) })
	})
	b.Run("RMSNorm", func(b *testing.B) { fastest(b, n, func() { RMSNorm(p, x, y, 4, n/4, 1e-6) }) })
	b.Run("Rotate", func(b *testing.B) { fastest(b, n, func() { Rotate(p, x, 16, n/16, y[:n/32], z[:n/32], false) }) })
	w := make([]byte, 2*n)
	F32ToBF16(w, x)
	b.Run("bf16ToF32/kernel", func(b *testing.B) { fastest(b, n, func() { bf16ToF32(p, w) }) })
	b.Run("bf16ToF32/plain", func(b *testing.B) { fastest(b, n, func() { bf16ToF32Go(p, w) }) })
}

// BenchmarkRoundI8 rounds numbers to codes of 8 bits.
func BenchmarkRoundI8(b *testing.B) {
	x := normals(rand.New(rand.NewPCG(44, 45)), 1024, 1)
	codes := make([]byte, I8Bytes(len(x)))
	b.Run("kernel", func(b *testing.B) { fastest(b, len(x), func() { F32ToI8(codes, x) }) })
	b.Run("plain", func(b *testing.B) { fastest(b, len(x), func() { roundI8Go(codes, x) }) })
}

// BenchmarkGemvBF16 decodes: a weight that fits the caches, and one that comes from memory.
func BenchmarkGemvBF16(b *testing.B) {
	r := rand.New(rand.NewPCG(42, 43))
	for _, s := range []struct {
		name string
		n, k int
	}{{"768x256", 768, 256}, {"8192x2048", 8192, 2048}} {
		w, x, dst := make([]byte, 2*s.n*s.k), normals(r, s.k, 1), make([]float32, s.n)
		F32ToBF16(w, normals(r, s.n*s.k, 1))
		b.Run(s.name, func(b *testing.B) { fastest(b, s.n*s.k, func() { GemmStored(1, s.n, s.k, x, StoredBF16(w), dst) }) })
	}
}

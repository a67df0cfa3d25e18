package kernels

// GemvBF16 computes dst = W·x on all cores for a weight w of n rows of k little-endian bfloat16 numbers, as a
// checkpoint holds a linear layer: dst is [n], x is [k]. Decoding one token at a time is bound by reading the
// weights, which this reads as they are instead of twice the bytes. The built-in kernels compute it; their Gemm gives
// the same bits.
func GemvBF16(dst []float32, w []byte, x []float32, n, k int) { gemvOf(bf16, dst, w, x, n, k) }

// GemvF16 is [GemvBF16] for IEEE 754 half-precision numbers.
func GemvF16(dst []float32, w []byte, x []float32, n, k int) { gemvOf(f16, dst, w, x, n, k) }

// halfType is a type of 16-bit numbers.
type halfType int

const (
	bf16 halfType = iota
	f16
)

func gemvOf(t halfType, dst []float32, w []byte, x []float32, n, k int) {
	need("Gemv: dst", len(dst), n)
	need("Gemv: w, in bytes,", len(w), 2*n*k)
	need("Gemv: x", len(x), k)
	p := product{tb: true, m: 1, n: n, k: k, alpha: 1, a: x, lda: k, halves: w, halfType: t, ldb: k, c: dst, ldc: n}
	p.runParallel()
}

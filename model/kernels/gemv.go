package kernels

import "sync"

// GemvBF16 computes dst = W·x on all cores for a weight w of n rows of k little-endian bfloat16 numbers, as a
// checkpoint holds a linear layer: dst is [n], x is [k]. Decoding one token at a time is bound by reading the
// weights, which this reads as they are instead of twice the bytes.
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
	g := gemvs.Get().(*gemv)
	g.numbers, g.dst, g.w, g.x = t, dst[:n], w, x[:k]
	Parallel(n, max(1, gemvGrain/max(k, 1)), g.part)
	g.dst, g.w, g.x = nil, nil, nil
	gemvs.Put(g)
}

// gemvGrain is the number of weights that take longer to read than to call another core to help.
const gemvGrain = 1 << 16

// gemv carries a product into Parallel without allocating.
type gemv struct {
	numbers halfType
	dst     []float32
	w       []byte
	x       []float32
	part    func(lo, hi int)
}

var gemvs = sync.Pool{New: func() any {
	g := new(gemv)
	g.part = func(lo, hi int) { gemvRows(g.numbers, g.dst[lo:hi], g.w[2*lo*len(g.x):], g.x) }
	return g
}}

// gemvRows computes dst = W·x for the len(dst) rows of w.
func gemvRows(t halfType, dst []float32, w []byte, x []float32) {
	row := 2 * len(x)
	i := 0
	for ; i+dotCols <= len(dst); i += dotCols {
		dotTileHalf(t, (*[dotCols]float32)(dst[i:]), x, w[i*row:])
	}
	for ; i < len(dst); i++ {
		dst[i] = dotHalfGo(t, x, w[i*row:])
	}
}

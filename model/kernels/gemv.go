package kernels

import "sync"

// GemvBF16 computes dst = W·x on all cores for a weight w of n rows of k little-endian bfloat16 numbers, as a
// checkpoint holds a linear layer: dst is [n], x is [k]. Decoding one token at a time is bound by reading the
// weights, which this reads as they are instead of twice the bytes.
func GemvBF16(dst []float32, w []byte, x []float32, n, k int) {
	need("GemvBF16: dst", len(dst), n)
	need("GemvBF16: w, in bytes,", len(w), 2*n*k)
	need("GemvBF16: x", len(x), k)
	g := gemvs.Get().(*gemvBF16)
	g.dst, g.w, g.x = dst[:n], w, x[:k]
	Parallel(n, max(1, gemvGrain/max(k, 1)), g.part)
	g.dst, g.w, g.x = nil, nil, nil
	gemvs.Put(g)
}

// gemvGrain is the number of weights that take longer to read than to call another core to help.
const gemvGrain = 1 << 16

// gemvBF16 carries a product into Parallel without allocating.
type gemvBF16 struct {
	dst  []float32
	w    []byte
	x    []float32
	part func(lo, hi int)
}

var gemvs = sync.Pool{New: func() any {
	g := new(gemvBF16)
	g.part = func(lo, hi int) { gemvBF16Rows(g.dst[lo:hi], g.w[2*lo*len(g.x):], g.x) }
	return g
}}

// gemvBF16Rows computes dst = W·x for the len(dst) rows of w.
func gemvBF16Rows(dst []float32, w []byte, x []float32) {
	row := 2 * len(x)
	i := 0
	for ; i+dotCols <= len(dst); i += dotCols {
		dotTileBF16((*[dotCols]float32)(dst[i:]), x, w[i*row:])
	}
	for ; i < len(dst); i++ {
		dst[i] = dotBF16Go(x, w[i*row:])
	}
}

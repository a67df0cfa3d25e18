package kernels

import (
	"math"

	"eisft/internal/scratch"
)

// RMSNorm writes x/sqrt(mean(x²)+eps)*w to dst, row by row: dst and x are [rows, cols], w is [cols]. dst may be x.
// Root mean square layer normalization, https://arxiv.org/abs/1910.07467, equation 4, with eps as in Llama.
func RMSNorm(dst, x, w []float32, rows, cols int, eps float32) {
	need("RMSNorm: dst", len(dst), rows*cols)
	need("RMSNorm: x", len(x), rows*cols)
	need("RMSNorm: w", len(w), cols)
	for r := range rows {
		row, out := x[r*cols:][:cols], dst[r*cols:][:cols]
		inv := inverseRMS(row, eps)
		mulScaled(out, row, w[:cols], inv)
	}
}

// RMSNormGrad writes the gradient of RMSNorm with respect to x to dx, given the output's gradient dy; all three
// are [rows, cols]. With r = 1/sqrt(mean(x²)+eps), dx = r*(w*dy - x*r²*mean(w*dy*x)). dx may be dy.
func RMSNormGrad(dx, dy, x, w []float32, rows, cols int, eps float32) {
	need("RMSNormGrad: dx", len(dx), rows*cols)
	need("RMSNormGrad: dy", len(dy), rows*cols)
	need("RMSNormGrad: x", len(x), rows*cols)
	need("RMSNormGrad: w", len(w), cols)
	for r := range rows {
		row, grad, out := x[r*cols:][:cols], dy[r*cols:][:cols], dx[r*cols:][:cols]
		inv := inverseRMS(row, eps)
		s := dot3(row, grad, w[:cols])
		normGrad(out, grad, row, w[:cols], inv, s/float32(cols)*inv*inv*inv)
	}
}

func inverseRMS(row []float32, eps float32) float32 {
	mean := Dot(row, row) / float32(len(row))
	return float32(1 / math.Sqrt(float64(mean+eps)))
}

// LayerNorm writes (x-mean(x))/sqrt(var(x)+eps)*w + b to dst, row by row: dst and x are [rows, cols], w and b are
// [cols]; a b of nil is zero. dst may be x. Layer normalization, https://arxiv.org/abs/1607.06450, equation 4, with the
// biased variance and eps under the root as in PyTorch.
func LayerNorm(dst, x, w, b []float32, rows, cols int, eps float32) {
	need("LayerNorm: dst", len(dst), rows*cols)
	need("LayerNorm: x", len(x), rows*cols)
	need("LayerNorm: w", len(w), cols)
	if b != nil {
		need("LayerNorm: b", len(b), cols)
	}
	for r := range rows {
		out := dst[r*cols:][:cols]
		center(out, x[r*cols:][:cols])
		mulScaled(out, out, w[:cols], inverseRMS(out, eps))
		if b != nil {
			add(out, b[:cols])
		}
	}
}

// LayerNormGrad writes the gradient of LayerNorm with respect to x to dx, given the output's gradient dy; all three
// are [rows, cols]. It is that of RMSNorm at the centered row, without its mean. dx may be dy.
func LayerNormGrad(dx, dy, x, w []float32, rows, cols int, eps float32) {
	need("LayerNormGrad: dx", len(dx), rows*cols)
	need("LayerNormGrad: x", len(x), rows*cols)
	row := scratch.Borrow(cols)
	defer scratch.Release(row)
	for r := range rows {
		out := dx[r*cols:][:cols]
		center(row, x[r*cols:][:cols])
		RMSNormGrad(out, dy[r*cols:], row, w, 1, cols, eps)
		center(out, out)
	}
}

// center writes x without its mean, which is summed in float64, to dst, which may be x.
func center(dst, x []float32) {
	sum := 0.0
	for _, v := range x {
		sum += float64(v)
	}
	mean := float32(sum / float64(len(x)))
	for i, v := range x {
		dst[i] = v - mean
	}
}

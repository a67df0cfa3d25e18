package kernels

import "math"

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

package kernels

// dotTile takes up to dotRows rows of x and dotCols rows of w.
const dotRows, dotCols = 3, 4

// gemmTileGo computes alpha*A*B for a tile of C of up to tileRows rows and tileCols columns, and stores it or adds
// it to C. A's element i, l is a[i*aRow+l*aCol]; B is a packed panel.
func gemmTileGo(rows, k int, a []float32, aRow, aCol int, b, c []float32, cRow int, alpha float32, add bool) {
	const step = 4 // columns at once: their sums stay in registers
	for i := range rows {
		for j := 0; j < tileCols; j += step {
			var s0, s1, s2, s3 float32
			for l, x := 0, i*aRow; l < k; l, x = l+1, x+aCol {
				v, w := a[x], b[l*tileCols+j:][:step]
				s0 += v * w[0]
				s1 += v * w[1]
				s2 += v * w[2]
				s3 += v * w[3]
			}
			out := c[i*cRow+j:][:step]
			if !add {
				clear(out)
			}
			out[0] += alpha * s0
			out[1] += alpha * s1
			out[2] += alpha * s2
			out[3] += alpha * s3
		}
	}
}

// transposePanelGo writes the columns of the tileCols rows of src, k long and stride apart, as rows to dst.
func transposePanelGo(dst, src []float32, stride, k int) {
	for j := range tileCols {
		for l, v := range src[j*stride:][:k] {
			dst[l*tileCols+j] = v
		}
	}
}

// dotTileGo writes the dot products of rows of x with dotCols rows of w, k long, to out [rows, dotCols].
func dotTileGo(out *[dotRows * dotCols]float32, x []float32, xRow, rows int, w []float32, wRow, k int) {
	for i := range rows {
		for j := range dotCols {
			out[i*dotCols+j] = dotGo(x[i*xRow:][:k], w[j*wRow:][:k])
		}
	}
}

// dotBF16Go returns the dot product of x with len(x) bfloat16 numbers.
func dotBF16Go(x []float32, w []byte) float32 {
	var s float32
	for i, v := range x {
		s += v * bf16At(w, i)
	}
	return s
}

package kernels

func gemmTile(rows, k int, a []float32, aRow, aCol int, b, c []float32, cRow int, alpha float32, add bool) {
	if useAVX2 {
		gemmTileAVX2(rows, k, &a[0], aRow, aCol, &b[0], tileCols, &c[0], cRow, alpha, add)
	} else {
		gemmTileGo(rows, k, a, aRow, aCol, b, c, cRow, alpha, add)
	}
}

func transposePanel(dst, src []float32, stride, k int) {
	whole := 0
	if useAVX2 && k >= 8 {
		whole = k &^ 7
		transpose8AVX2(&dst[0], tileCols, &src[0], stride, whole)
		transpose8AVX2(&dst[8], tileCols, &src[8*stride], stride, whole)
	}
	if whole < k {
		transposePanelGo(dst[whole*tileCols:], src[whole:], stride, k-whole)
	}
}

func dotTile(out *[dotRows * dotCols]float32, x []float32, xRow, rows int, w []float32, wRow, k int) {
	switch {
	case !useAVX2:
		dotTileGo(out, x, xRow, rows, w, wRow, k)
	case rows == 1:
		dotRows1AVX2(&out[0], &x[0], xRow, &w[0], wRow, k)
	case rows == 2:
		dotRows2AVX2(&out[0], &x[0], xRow, &w[0], wRow, k)
	default:
		dotRows3AVX2(&out[0], &x[0], xRow, &w[0], wRow, k)
	}
}

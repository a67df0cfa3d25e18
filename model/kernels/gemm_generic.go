//go:build !amd64

package kernels

func gemmTile(rows, k int, a []float32, aRow, aCol int, b, c []float32, cRow int, alpha float32, add bool) {
	gemmTileGo(rows, k, a, aRow, aCol, b, c, cRow, alpha, add)
}

func transposePanel(dst, src []float32, stride, k int) { transposePanelGo(dst, src, stride, k) }

func dotTile(out *[dotRows * dotCols]float32, x []float32, xRow, rows int, w []float32, wRow, k int) {
	dotTileGo(out, x, xRow, rows, w, wRow, k)
}

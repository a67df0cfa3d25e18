//go:build !(amd64 || arm64) || purego

package kernels

func gemmTiles(rows, tiles, k int, a []float32, aTile, aRow, aCol int, b []float32, bRow, _ int,
	c []float32, cRow, _ int, alpha float32, add bool,
) {
	gemmTilesGo(rows, tiles, k, a, aTile, aRow, aCol, b, bRow, c, cRow, alpha, add)
}

func transposePanel(dst, src []float32, stride, k, _ int) { transposePanelGo(dst, src, stride, k) }

func (*product) transposeStored(_ *packing, _ []float32, _, _, _, _ int) bool { return false }

func packRows(dst, src []float32, stride, width, k int) { packRowsGo(dst, src, stride, width, k) }

const gemvCols = 32

func (*product) hasGemv(int) bool { return false }

func (*product) fused(*packing) bool { return false }

func (*product) gemvColumns(_ *packing, _, _, _ int, _ bool) {}

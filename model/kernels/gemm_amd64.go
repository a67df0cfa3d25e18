//go:build !purego

package kernels

// gemmTiles is gemmTilesGo for cols columns of C, which are panelCols unless useAVX512: then they are any number up to
// two panels, which are bPanel apart.
func gemmTiles(rows, tiles, k int, a []float32, aTile, aRow, aCol int, b []float32, bRow, bPanel int,
	c []float32, cRow, cols int, alpha float32, add bool,
) {
	switch {
	case useAVX512:
		panels := (cols + panelCols - 1) / panelCols
		mask := uint32(1)<<(cols-(panels-1)*panelCols) - 1
		gemmTilesAVX512(rows, tiles, k, &a[0], aTile, aRow, aCol, &b[0], bRow, bPanel, panels, &c[0], cRow, alpha, add, mask)
	case useAVX2:
		gemmTilesAVX2(rows, tiles, k, &a[0], aTile, aRow, aCol, &b[0], bRow, &c[0], cRow, alpha, add)
	default:
		gemmTilesGo(rows, tiles, k, a, aTile, aRow, aCol, b, bRow, c, cRow, alpha, add)
	}
}

// transposePanel is transposePanelGo. It fetches what lies ahead elements behind into the caches.
func transposePanel(dst, src []float32, stride, k, ahead int) {
	whole := 0
	switch {
	case useAVX512 && k >= 16:
		whole = k &^ 15
		transposeF32AVX512(&dst[0], &src[0], 4*stride, whole, 4*ahead)
	case useAVX2 && k >= 8:
		whole = k &^ 7
		transposeF32AVX2(&dst[0], &src[0], 4*stride, whole, 4*ahead)
		transposeF32AVX2(&dst[8], &src[8*stride], 4*stride, whole, 4*ahead)
	}
	if whole < k {
		transposePanelGo(dst[whole*panelCols:], src[whole:], stride, k-whole)
	}
}

// halfKernels are those for one type of 16-bit numbers and one width of vectors.
type halfKernels struct {
	transpose func(dst *float32, src *byte, srcRow, n, ahead int)
	gemv      func(c, a *float32, src *byte, srcRow, n, ahead int, alpha float32, add bool, tmp *float32)
}

var (
	halvesAVX2   = [...]halfKernels{bf16: {transposeBF16AVX2, gemvBF16AVX2}, f16: {transposeF16AVX2, gemvF16AVX2}}
	halvesAVX512 = [...]halfKernels{bf16: {transposeBF16AVX512, gemvBF16AVX512}, f16: {transposeF16AVX512, gemvF16AVX512}}
)

// transposeHalves is transposeHalvesGo. It fetches what lies ahead numbers behind into the caches.
func transposeHalves(t halfType, dst []float32, src []byte, stride, k, ahead int) {
	whole := 0
	if useAVX2 {
		whole = k - k%gemvStep
	}
	switch {
	case whole == 0:
	case useAVX512:
		halvesAVX512[t].transpose(&dst[0], &src[0], 2*stride, whole, 2*ahead)
	default:
		halvesAVX2[t].transpose(&dst[0], &src[0], 2*stride, whole, 2*ahead)
		halvesAVX2[t].transpose(&dst[8], &src[16*stride], 2*stride, whole, 2*ahead)
	}
	if whole < k {
		transposeHalvesGo(t, dst[whole*panelCols:], src[2*whole:], stride, k-whole)
	}
}

// gemvCols is the number of columns that gemvColumns computes, from sums of multiples of gemvStep products.
const gemvCols, gemvStep = 32, 32

func hasGemv(k int) bool { return useAVX2 && k%gemvStep == 0 }

// gemvColumns computes gemvCols columns of one row of C, those that begin at j, from k rows of the transposed B,
// those that begin at l0.
func (p *product) gemvColumns(buf *packing, j, l0, k, ahead int, add bool) {
	tmp := &buf.b[0]
	c, a, at := &p.c[j], &p.a[l0], j*p.ldb+l0
	switch {
	case p.halves == nil && useAVX512:
		gemvF32AVX512(c, a, &p.b[at], 4*p.ldb, k, 4*ahead, p.alpha, add, tmp)
	case p.halves == nil:
		gemvF32AVX2(c, a, &p.b[at], 4*p.ldb, k, 4*ahead, p.alpha, add, tmp)
	case useAVX512:
		halvesAVX512[p.halfType].gemv(c, a, &p.halves[2*at], 2*p.ldb, k, 2*ahead, p.alpha, add, tmp)
	default:
		halvesAVX2[p.halfType].gemv(c, a, &p.halves[2*at], 2*p.ldb, k, 2*ahead, p.alpha, add, tmp)
	}
}

func packRows(dst, src []float32, stride, width, k int) {
	switch {
	case useAVX512:
		packRowsAVX512(&dst[0], &src[0], stride, width, k, 1<<width-1)
	case useAVX2 && width == panelCols:
		packRows16AVX2(&dst[0], &src[0], stride, k)
	case useAVX2 && width == 6:
		packRows6AVX2(&dst[0], &src[0], stride, k)
	default:
		packRowsGo(dst, src, stride, width, k)
	}
}

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

func transposePanel(dst, src []float32, stride, k int) {
	whole := 0
	if useAVX2 && k >= 8 {
		whole = k &^ 7
		transpose8AVX2(&dst[0], panelCols, &src[0], stride, whole)
		transpose8AVX2(&dst[8], panelCols, &src[8*stride], stride, whole)
	}
	if whole < k {
		transposePanelGo(dst[whole*panelCols:], src[whole:], stride, k-whole)
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

func dotTileHalf(t halfType, out *[dotCols]float32, x []float32, w []byte) {
	if !useAVX2 {
		dotTileHalfGo(t, out, x, w)
		return
	}
	k := len(x)
	whole := k &^ 7
	clear(out[:])
	switch long := k > longRow; {
	case whole == 0:
	case t == bf16 && long:
		dotLongRowsBF16AVX2(&out[0], &x[0], &w[0], k, whole)
	case t == bf16:
		dotRowsBF16AVX2(&out[0], &x[0], &w[0], k, whole)
	case long:
		dotLongRowsF16AVX2(&out[0], &x[0], &w[0], k, whole)
	default:
		dotRowsF16AVX2(&out[0], &x[0], &w[0], k, whole)
	}
	if whole < k {
		for j := range out {
			out[j] += dotHalfGo(t, x[whole:], w[2*(j*k+whole):])
		}
	}
}

// longRow is the length from which four rows of 16-bit numbers and the next four leave no room in the L1 cache.
const longRow = 2048

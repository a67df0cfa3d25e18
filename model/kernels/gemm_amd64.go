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

var (
	wholeAVX2      = &byteKernels{gemvWholeAVX2, widenWholeAVX2}
	eightsAVX2     = &byteKernels{gemvEightsAVX2, widenEightsAVX2}
	sixteensAVX2   = &byteKernels{gemvSixteensAVX2, widenSixteensAVX2}
	signedAVX2     = &byteKernels{gemvSignedAVX2, widenSignedAVX2}
	scaledAVX2     = &byteKernels{gemvScaledAVX2, widenScaledAVX2}
	centeredAVX2   = &byteKernels{gemvCenteredAVX2, widenCenteredAVX2}
	wholeAVX512    = &byteKernels{widen: widenWholeAVX512}
	eightsAVX512   = &byteKernels{widen: widenEightsAVX512}
	sixteensAVX512 = &byteKernels{widen: widenSixteensAVX512}
	signedAVX512   = &byteKernels{widen: widenSignedAVX512}
	scaledAVX512   = &byteKernels{widen: widenScaledAVX512}
	centeredAVX512 = &byteKernels{widen: widenCenteredAVX512}

	storedAVX2 = [codes]storedKernels{
		BF16:  {transpose: transposeBF16AVX2, gemv: gemvBF16AVX2},
		F16:   {transpose: transposeF16AVX2, gemv: gemvF16AVX2},
		Q80:   {unpack: unpackQ80AVX2, group: 32, bytes: signedAVX2},
		Q40:   {unpack: unpackQ40AVX2, group: 32, bytes: eightsAVX2},
		Q41:   {unpack: unpackQ41AVX2, group: 32, bytes: wholeAVX2},
		Q50:   {unpack: unpackQ50AVX2, group: 32, bytes: sixteensAVX2},
		Q51:   {unpack: unpackQ51AVX2, group: 32, bytes: wholeAVX2},
		Q4K:   {unpack: unpackQ4KAVX2, group: 32, bytes: wholeAVX2},
		Q5K:   {unpack: unpackQ5KAVX2, group: 32, bytes: wholeAVX2},
		Q6K:   {unpack: unpackQ6KAVX2, group: 16, bytes: centeredAVX2},
		I8:    {unpack: unpackI8AVX2, group: 32, bytes: scaledAVX2},
		I4:    {unpack: unpackI4AVX2, group: 32, bytes: scaledAVX2},
		I4Two: {unpack: unpackI4TwoAVX2, group: 16, bytes: scaledAVX2},
	}
	storedAVX512 = [codes]storedKernels{
		BF16:  {transpose: transposeBF16AVX512, gemv: gemvBF16AVX512},
		F16:   {transpose: transposeF16AVX512, gemv: gemvF16AVX512},
		Q80:   {unpack: unpackQ80AVX512, group: 32, bytes: signedAVX512, fused: fusedQ80AVX512},
		Q40:   {unpack: unpackQ40AVX512, group: 32, bytes: eightsAVX512, fused: fusedQ40AVX512},
		Q41:   {unpack: unpackQ41AVX512, group: 32, bytes: wholeAVX512, fused: fusedQ41AVX512},
		Q50:   {unpack: unpackQ50AVX512, group: 32, bytes: sixteensAVX512, fused: fusedQ50AVX512},
		Q51:   {unpack: unpackQ51AVX512, group: 32, bytes: wholeAVX512, fused: fusedQ51AVX512},
		Q4K:   {unpack: unpackQ4KAVX512, group: 32, bytes: wholeAVX512, fused: fusedQ4KAVX512},
		Q5K:   {unpack: unpackQ5KAVX512, group: 32, bytes: wholeAVX512, fused: fusedQ5KAVX512},
		Q6K:   {unpack: unpackQ6KAVX512, group: 16, bytes: centeredAVX512, fused: fusedQ6KAVX512},
		I8:    {unpack: unpackI8AVX512, group: 32, bytes: scaledAVX512, fused: fusedI8AVX512},
		I4:    {unpack: unpackI4AVX512, group: 32, bytes: scaledAVX512, fused: fusedI4AVX512},
		I4Two: {unpack: unpackI4TwoAVX512, group: 16, bytes: scaledAVX512, fused: fusedI4TwoAVX512},
	}
)

// allStored returns the kernels for every way to store numbers and the rows that one of them reads.
func allStored() (*[codes]storedKernels, int) {
	if useAVX512 {
		return &storedAVX512, 16
	}
	return &storedAVX2, 8
}

func gemvF32(c, a, src *float32, srcRow, n, ahead int, alpha float32, add bool, tmp *float32) {
	if useAVX512 {
		gemvF32AVX512(c, a, src, srcRow, n, ahead, alpha, add, tmp)
	} else {
		gemvF32AVX2(c, a, src, srcRow, n, ahead, alpha, add, tmp)
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

//go:build !purego

package kernels

// gemmTiles is gemmTilesGo. cols is panelCols, and there is one panel.
func gemmTiles(rows, tiles, k int, a []float32, aTile, aRow, aCol int, b []float32, bRow, _ int,
	c []float32, cRow, _ int, alpha float32, add bool,
) {
	gemmTilesNEON(rows, tiles, k, &a[0], aTile, aRow, aCol, &b[0], bRow, &c[0], cRow, alpha, add)
}

// transposePanel is transposePanelGo.
func transposePanel(dst, src []float32, stride, k, _ int) {
	whole := k &^ 3
	if whole > 0 {
		for i := 0; i < panelCols; i += 4 {
			transposeF32NEON(&dst[i], &src[i*stride], 4*stride, whole, 0)
		}
	}
	if whole < k {
		transposePanelGo(dst[whole*panelCols:], src[whole:], stride, k-whole)
	}
}

var (
	wholeNEON  = &byteKernels{gemvWholeNEON, widenWholeNEON}
	scaledNEON = &byteKernels{gemvScaledNEON, widenScaledNEON}
	halvesNEON = &byteKernels{gemvHalvesNEON, widenHalvesNEON}

	storedNEON = [codes]storedKernels{
		BF16:  {transpose: transposeBF16NEON, gemv: gemvBF16NEON},
		F16:   {transpose: transposeF16NEON, gemv: gemvF16NEON},
		Q80:   {unpack: unpackQ80NEON, group: 32, bytes: halvesNEON},
		Q40:   {unpack: unpackQ40NEON, group: 32, bytes: halvesNEON},
		Q41:   {unpack: unpackQ41NEON, group: 32, bytes: wholeNEON},
		Q50:   {unpack: unpackQ50NEON, group: 32, bytes: halvesNEON},
		Q51:   {unpack: unpackQ51NEON, group: 32, bytes: wholeNEON},
		Q4K:   {unpack: unpackQ4KNEON, group: 32, bytes: wholeNEON},
		Q5K:   {unpack: unpackQ5KNEON, group: 32, bytes: wholeNEON},
		Q6K:   {unpack: unpackQ6KNEON, group: 16, bytes: scaledNEON},
		I8:    {unpack: unpackI8NEON, group: 32, bytes: scaledNEON},
		I4:    {unpack: unpackI4NEON, group: 32, bytes: scaledNEON},
		I4Two: {unpack: unpackI4TwoNEON, group: 16, bytes: scaledNEON},
	}
)

// allStored returns the kernels for every way to store numbers and the rows that one of them reads.
func allStored() (*[codes]storedKernels, int) { return &storedNEON, 4 }

func gemvF32(c, a, src *float32, srcRow, n, ahead int, alpha float32, add bool, tmp *float32) {
	gemvF32NEON(c, a, src, srcRow, n, ahead, alpha, add, tmp)
}

func packRows(dst, src []float32, stride, width, k int) {
	switch width {
	case panelCols:
		packRows16NEON(&dst[0], &src[0], stride, k)
	case 6:
		packRows6NEON(&dst[0], &src[0], stride, k)
	default:
		packRowsGo(dst, src, stride, width, k)
	}
}

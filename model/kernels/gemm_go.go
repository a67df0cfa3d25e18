package kernels

// gemmTilesGo computes alpha*A*B for tiles of C one below the other, each of some rows and panelCols columns, and
// stores them or adds them to C. A's element i, l of a tile is a[i*aRow+l*aCol], tiles of A are aTile apart, B's
// rows of panelCols are bRow apart and those of C cRow.
func gemmTilesGo(rows, tiles, k int, a []float32, aTile, aRow, aCol int, b []float32, bRow int, c []float32, cRow int,
	alpha float32, add bool,
) {
	const step = 8 // as many sums as stay in registers
	for i := range rows * tiles {
		for j := 0; j < panelCols; j += step {
			sums := rowTimesColumns(k, a[i/rows*aTile+i%rows*aRow:], aCol, b[j:], bRow)
			out := c[i*cRow+j:][:step]
			if !add {
				clear(out)
			}
			for q := range out {
				out[q] += alpha * sums[q]
			}
		}
	}
}

// rowTimesColumns multiplies a row, its elements step apart, with eight columns of b.
func rowTimesColumns(k int, row []float32, step int, b []float32, bRow int) [8]float32 {
	var s, t, u, v, w, x, y, z float32
	for l := range k {
		a, c := row[l*step], b[l*bRow:][:8]
		s += a * c[0]
		t += a * c[1]
		u += a * c[2]
		v += a * c[3]
		w += a * c[4]
		x += a * c[5]
		y += a * c[6]
		z += a * c[7]
	}
	return [8]float32{s, t, u, v, w, x, y, z}
}

// transposePanelGo writes the columns of the panelCols rows of src, k long and stride apart, as rows to dst.
func transposePanelGo(dst, src []float32, stride, k int) {
	for j := range panelCols {
		for l, v := range src[j*stride:][:k] {
			dst[l*panelCols+j] = v
		}
	}
}

// packRowsGo copies the first width elements of k rows of src, stride apart, to dst one after another.
func packRowsGo(dst, src []float32, stride, width, k int) {
	for l := range k {
		copy(dst[l*width:][:width], src[l*stride:])
	}
}

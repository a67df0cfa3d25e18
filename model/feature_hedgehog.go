package model

import "eisft/model/kernels"

// FeatureHedgehog is [softmax(xA), softmax(-xA)], F = 2f (LoLCATs, arXiv 2410.10254,
// section 3).
const FeatureHedgehog Feature = "hedgehog"

var hedgehogFeature = featureForm{
	learned:    true,
	stateScale: 0x1p10,
	size:       func(_, cols int) int { return 2 * cols },
	forward:    hedgehogForward, backward: hedgehogBackward,
}

func hedgehogForward(m FeatureMap, phi, x []float32, ldx, rows, size int) {
	kernels.GemmSerial(false, false, rows, m.Cols, m.D, 1, x, ldx, m.A, m.Cols, 0, phi, size)
	for t := range rows {
		pos, neg := phi[t*size:t*size+m.Cols], phi[t*size+m.Cols:(t+1)*size]
		for i, v := range pos {
			neg[i] = -v
		}
		kernels.Softmax(pos)
		kernels.Softmax(neg)
	}
}

func hedgehogBackward(m FeatureMap, dx, dA, dphi, phi, x []float32, ldx, rows, size int) {
	for t := range rows { // dy = d softmax(y) - d softmax(-y), kept in the first half
		row, p := dphi[t*size:(t+1)*size], phi[t*size:(t+1)*size]
		kernels.SoftmaxGrad(row[:m.Cols], row[:m.Cols], p[:m.Cols])
		kernels.SoftmaxGrad(row[m.Cols:], row[m.Cols:], p[m.Cols:])
		kernels.Axpy(-1, row[m.Cols:], row[:m.Cols])
	}
	if dx != nil {
		kernels.GemmSerial(false, true, rows, m.D, m.Cols, 1, dphi, size, m.A, m.Cols, 1, dx, ldx)
	}
	kernels.GemmSerial(true, false, m.D, m.Cols, rows, 1, x, ldx, dphi, size, 1, dA, m.Cols)
}

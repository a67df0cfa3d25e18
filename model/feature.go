package model

import "eisft/model/kernels"

// FeatureMap is φ of one head: ELU(x)+1, or with A the hedgehog map
// [softmax(xA), softmax(-xA)] (LoLCATs, arXiv 2410.10254, section 3).
type FeatureMap struct {
	Feature Feature
	D, Cols int       // head size d; columns f of A
	A       []float32 // [d,f]; nil for ELU
}

// Size returns F.
func (m FeatureMap) Size() int {
	if m.Feature == FeatureELU {
		return m.D
	}
	return 2 * m.Cols
}

// Forward writes φ [T,F] of x, T rows of d values, ldx apart.
func (m FeatureMap) Forward(phi, x []float32, ldx, rows int) {
	size := m.Size()
	if m.Feature == FeatureELU {
		for t := range rows {
			eluPlusOne(phi[t*size:(t+1)*size], x[t*ldx:t*ldx+m.D])
		}
		return
	}
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

// eluPlusOne is ELU(x)+1: x+1 above zero, exp(x) below.
func eluPlusOne(dst, x []float32) {
	kernels.Exp(dst, x)
	for i, v := range x {
		if v > 0 {
			dst[i] = v + 1
		}
	}
}

// Backward adds the gradients of x (rows ldx apart; nil: not wanted) and of A
// (nil for ELU), given φ and its gradient, which it overwrites.
func (m FeatureMap) Backward(dx, dA, dphi, phi, x []float32, ldx, rows int) {
	size := m.Size()
	if m.Feature == FeatureELU {
		for t := range rows {
			for i := range m.D {
				if dx == nil {
					continue
				}
				g := dphi[t*size+i]
				if x[t*ldx+i] <= 0 {
					g *= phi[t*size+i] // d exp(x) = exp(x)
				}
				dx[t*ldx+i] += g
			}
		}
		return
	}
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

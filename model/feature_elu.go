package model

import "eisft/model/kernels"

// FeatureELU is ELU(x)+1, F = d: σ in Infini-attention, eq. 3 to 5.
const FeatureELU Feature = "elu"

var eluFeature = featureForm{
	stateScale: 0x1p-2,
	size:       func(d, _ int) int { return d },
	forward:    eluForward, backward: eluBackward,
}

func eluForward(m FeatureMap, phi, x []float32, ldx, rows, size int) {
	for t := range rows {
		eluPlusOne(phi[t*size:(t+1)*size], x[t*ldx:t*ldx+m.D])
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

func eluBackward(m FeatureMap, dx, _, dphi, phi, x []float32, ldx, rows, size int) {
	if dx == nil {
		return
	}
	for t := range rows {
		for i := range m.D {
			g := dphi[t*size+i]
			if x[t*ldx+i] <= 0 {
				g *= phi[t*size+i] // d exp(x) = exp(x)
			}
			dx[t*ldx+i] += g
		}
	}
}

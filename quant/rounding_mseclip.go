package quant

import (
	"eisft/model/kernels"
	"eisft/quant/encoding"
)

// RoundMSEClip clips the weights of each channel or block where rounding and clipping
// together do the least harm to the weights: the least sum of squares of what they differ
// by, of as many candidates as SeqMSE has. It looks at no inputs.
const RoundMSEClip = "mse-clip"

func mseClip(r *Recipe, m *Map) (encoding.Encoding, error) {
	return m.clip(r.SeqMSE.Candidates, func(sum []float64, d []float32, _ encoding.Encoding) {
		n := len(d) / len(sum)
		kernels.Parallel(len(sum), max(1, 1<<14/n), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				sum[i] = dot64(d[i*n:(i+1)*n], d[i*n:(i+1)*n])
			}
		})
	})
}

// subtract computes x -= y.
func subtract(x, y []float32) {
	kernels.Parallel(len(x), 1<<14, func(lo, hi int) { kernels.Axpy(-1, y[lo:hi], x[lo:hi]) })
}

package eval

import (
	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
)

// expected keeps what future queries are expected to attend to (Expected Attention, Devoto et
// al., arXiv 2510.00636): if the queries of a head are normal with mean μ and
// covariance Σ, the expected unnormalized weight of a key is
//
//	z_i = exp(μ̄·k_i/√d + ½ k_iᵀΣ̄k_i/d),  μ̄ = R̄μ, Σ̄ = R̄ΣR̄ᵀ,
//
// where R̄ is the mean of the rotations to the next 512 positions. A token's score is its share
// of z, averaged over the query heads of its KV head, times the length of its value, as in the
// authors' code. Mean and covariance fit a stream: they are those of all queries read until
// now, kept in [H,d+1,d] floats a layer. Sinks have no part in them, nor in the shares.
// Positions are those of the next tokens if nothing is dropped.
var expected = evicting(PolicyExpected, "sinks, window, and tokens that future queries should attend to (Expected Attention)", evenly, func(*model.Model) model.Eviction {
	return model.Eviction{QueryMoments: true, Score: expectedAttention}
})

// expectedPositions is how many positions ahead queries are expected at.
const expectedPositions = 512

func expectedAttention(dst []float32, c model.Candidates) {
	d, heads := c.Dims.HeadDim, c.Dims.KVHeads
	cos, sin := meanRotation(c)
	clear(dst)
	n := c.Stored - c.First
	kernels.Each(heads, func(g int) {
		z, keys := scratch.Borrow(n), scratch.Borrow(n*d)
		defer scratch.Release(z, keys)
		for i := range n {
			copy(keys[i*d:(i+1)*d], c.Keys[((c.First+i)*heads+g)*d:])
		}
		group := c.Dims.Heads / heads
		for h := g * group; h < (g+1)*group; h++ {
			mean, cov := rotatedMoments(c, h, cos, sin)
			expectedLogits(z, keys, mean, cov, c.Layer.AttentionScale)
			kernels.Softmax(z)
			for i := range c.Candidates {
				dst[i*heads+g] += z[i] / float32(group)
			}
		}
		for i := range c.Candidates {
			dst[i*heads+g] *= norm(c.Values[((c.First+i)*heads+g)*d:][:d])
		}
	})
}

// expectedLogits writes log z of each key [n,d].
func expectedLogits(z, keys, mean, cov []float32, scale float32) {
	d := len(mean)
	product := scratch.Borrow(len(keys))
	defer scratch.Release(product)
	kernels.GemmSerial(false, false, len(z), d, d, 1, keys, d, cov, d, 0, product, d)
	for i := range z {
		k := keys[i*d : (i+1)*d]
		z[i] = scale*kernels.Dot(k, mean) + scale*scale/2*kernels.Dot(k, product[i*d:(i+1)*d])
	}
}

// meanRotation returns the means of cosines and sines over the next positions, [m] each.
func meanRotation(c model.Candidates) (cos, sin []float32) {
	m := len(c.Layer.Rotary.InvFreq)
	cos, sin = make([]float32, m), make([]float32, m)
	allCos, allSin := c.Layer.Rotary.Range(c.Position, c.Position+expectedPositions)
	for t := range expectedPositions {
		kernels.Axpy(1./expectedPositions, allCos[t*m:(t+1)*m], cos)
		kernels.Axpy(1./expectedPositions, allSin[t*m:(t+1)*m], sin)
	}
	return cos, sin
}

// rotatedMoments returns R̄μ and R̄ΣR̄ᵀ of a query head.
func rotatedMoments(c model.Candidates, head int, cos, sin []float32) (mean, cov []float32) {
	d := c.Dims.HeadDim
	was, of := c.QueryMoments(head)
	rotate := func(dst, x []float32) {
		kernels.Rotate(dst, x, 1, d, cos, sin, false)
		if c.Layer.QueryWeight != nil {
			kernels.Mul(dst, c.Layer.QueryWeight)
		}
	}
	mean, cov = make([]float32, d), make([]float32, d*d)
	rotate(mean, was)
	for range 2 { // rows, and then those of the transpose
		for i := range d {
			rotate(cov[i*d:(i+1)*d], of[i*d:(i+1)*d])
		}
		turned := make([]float32, d*d)
		kernels.Transpose(turned, cov, d, d)
		of = turned
	}
	return mean, of
}

package eval

import (
	"math"

	"eisft/model"
	"eisft/model/kernels"
)

// keyDiff keeps keys that are unlike the others (KeyDiff, Park et al., arXiv 2504.15364, section
// 3): a token's score is how little its key resembles the mean direction of all stored keys,
//
//	s_i = -cos(k_i, (1/n) Σ_j k_j/‖k_j‖).
//
// The paper evicts after each block of a prompt, as we do after each segment, and keeps neither
// sinks nor a window, so that the whole budget is slots. Keys are those after rotary embedding,
// as they lie in a cache, at the places that they have here.
var keyDiff = evictingAll(PolicyKeyDiff, "tokens with keys unlike the mean key; no sinks, no window (KeyDiff)", func(*model.Model) model.Eviction {
	return model.Eviction{Score: func(dst []float32, c model.Candidates) {
		heads, d := c.Dims.KVHeads, c.Dims.HeadDim
		key := func(row, g int) []float32 { return c.Keys[(row*heads+g)*d:][:d] }
		for g := range heads {
			anchor := make([]float32, d)
			for row := range c.Stored {
				kernels.Axpy(1/norm(key(row, g)), key(row, g), anchor)
			}
			length := norm(anchor)
			for i := range c.Candidates {
				k := key(c.First+i, g)
				dst[i*heads+g] = -kernels.Dot(k, anchor) / (norm(k) * length)
			}
		}
	}}
})

// norm returns the Euclidean length, but never 0.
func norm(x []float32) float32 {
	const least = 1e-12
	return max(least, float32(math.Sqrt(float64(kernels.Dot(x, x)))))
}

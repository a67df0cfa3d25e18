// Package adamw is the optimizer AdamW.
package adamw

import "math"

// epsilon is added to the root of the second moment, as in PyTorch.
const epsilon = 1e-8

// Step is one step of AdamW (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2).
type Step struct {
	Number    int // from 1; the correction of the moments' bias depends on it
	LR, Decay float64
	Betas     [2]float64
}

// Update moves x along the gradient g; m and v are the running means of the gradient and
// its square.
func (s Step) Update(x, g, m, v []float32) {
	b1, b2 := s.Betas[0], s.Betas[1]
	c1, c2 := 1-math.Pow(b1, float64(s.Number)), 1-math.Pow(b2, float64(s.Number))
	for i := range x {
		g := float64(g[i])
		mean := b1*float64(m[i]) + (1-b1)*g
		square := b2*float64(v[i]) + (1-b2)*g*g
		m[i], v[i] = float32(mean), float32(square)
		now := float64(x[i])
		now -= s.LR * s.Decay * now
		x[i] = float32(now - s.LR*(mean/c1)/(math.Sqrt(square/c2)+epsilon))
	}
}

package fit

import (
	"math"

	"eisft/internal/adamw"
	"eisft/internal/scratch"
	"eisft/model/kernels"
	"eisft/quant"
	"eisft/quant/encoding"
)

// soft is a map whose codes and scales are on their way: each weight is its scale times
// (below + h(v) − zero), between two neighbouring codes, with the rectified sigmoid
// h(v) = clip(1.2·σ(v) − 0.1, 0, 1) (AdaRound, arXiv 2004.10568, eq. 16 and 23). Scales are
// their first values times exp(t), one t for each scale or, low-power blockwise, for each
// channel, whose blocks keep their multiples.
type soft struct {
	weight *quant.Weight
	scales []float32 // at first
	groups int       // of scales with a t of their own
	below  []int8    // [Out,In]
	v, t   variable
	matrix []float32 // [Out,In], what all this stands for
	grad   []float32 // [Out,In], of the loss
}

// variable is what is fitted, with its gradient and the optimizer's moments.
type variable struct{ x, grad, mean, square []float32 }

func newVariable(n int) variable {
	return variable{make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)}
}

// The ends of the rectified sigmoid before it is clipped, ζ and γ.
const stretchHigh, stretchLow = 1.1, -0.1

// rectified returns h(v) and its derivative for a v with the sigmoid s.
func rectified(s float32) (h, slope float32) {
	h = s*(stretchHigh-stretchLow) + stretchLow
	switch {
	case h <= 0:
		return 0, 0
	case h >= 1:
		return 1, 0
	}
	return h, (stretchHigh - stretchLow) * s * (1 - s)
}

// sigmoids borrows σ(v) of a stretch of weights, nil if their codes are not fitted.
func (s *soft) sigmoids(from, to int) []float32 {
	if s.v.x == nil {
		return nil
	}
	x := scratch.Borrow(to - from)
	kernels.Sigmoid(x, s.v.x[from:to])
	return x
}

// inverse returns the v of an h inside of 0 to 1.
func inverse(h float32) float32 {
	p := float64(h-stretchLow) / (stretchHigh - stretchLow)
	return float32(math.Log(p / (1 - p)))
}

// edge is how near to a code a weight begins: on it, the sigmoid has no slope.
const edge = 0.01

// newSoft begins at the float weights [Out,In], each between the code that it was rounded
// to and the next one on its side.
func newSoft(w *quant.Weight, matrix []float32, o quant.Reconstruct) *soft {
	s := &soft{weight: w, scales: w.Scales, groups: len(w.Scales), below: make([]int8, len(w.Codes)), matrix: matrix, grad: make([]float32, len(w.Codes))}
	if w.LowPower() {
		s.groups = len(w.Channels)
	}
	if o.Scales {
		s.t = newVariable(s.groups)
	}
	if o.Rounding {
		s.v = newVariable(len(w.Codes))
	}
	lo, hi := w.Limits()
	s.each(func(from, to, i int) {
		for j := from; j < to; j++ {
			if !o.Rounding {
				s.below[j] = w.Codes[j]
				continue
			}
			x := matrix[j]/w.Scales[i] + float32(w.Zero(i))
			code := int32(w.Codes[j])
			if x < float32(code) {
				code--
			}
			code = max(lo, min(hi-1, code))
			s.below[j] = int8(code)
			s.v.x[j] = inverse(max(edge, min(1-edge, x-float32(code))))
		}
	})
	return s
}

// each calls f for stretches of weights with the scale of each, side by side.
func (s *soft) each(f func(from, to, scale int)) {
	length, scale := s.weight.Index(len(s.weight.Codes), s.weight.Out, s.weight.In)
	kernels.Parallel(len(s.weight.Codes)/length, max(1, (1<<13)/length), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			f(k*length, (k+1)*length, scale(k))
		}
	})
}

// group returns which t a scale has.
func (s *soft) group(scale int) int { return scale / (len(s.scales) / s.groups) }

// scale returns a scale as it is now.
func (s *soft) scale(i int) float32 {
	if s.t.x == nil {
		return s.scales[i]
	}
	return s.scales[i] * float32(math.Exp(float64(s.t.x[s.group(i)])))
}

// compute fills the matrix.
func (s *soft) compute() {
	s.each(func(from, to, i int) {
		scale, zero, sigmoids := s.scale(i), float32(s.weight.Zero(i)), s.sigmoids(from, to)
		defer scratch.Release(sigmoids)
		for j := from; j < to; j++ {
			code := float32(s.below[j])
			if sigmoids != nil {
				h, _ := rectified(sigmoids[j-from])
				code += h
			}
			s.matrix[j] = scale * (code - zero)
		}
	})
}

// backward turns the gradient of the matrix into those of v and t. The regularizer
// weight·Σ 1−|2h−1|^power is added to the loss (AdaRound, eq. 24): h is drawn to 0 or 1.
func (s *soft) backward(weight float32, power int) {
	sums := scratch.BorrowZero(len(s.scales)) // of t, by scale
	defer scratch.Release(sums)
	s.each(func(from, to, i int) {
		scale, sum, sigmoids := s.scale(i), 0.0, s.sigmoids(from, to)
		defer scratch.Release(sigmoids)
		for j := from; j < to; j++ {
			sum += float64(s.grad[j]) * float64(s.matrix[j])
			if sigmoids == nil {
				continue
			}
			h, slope := rectified(sigmoids[j-from])
			g := s.grad[j] * scale
			if weight > 0 {
				g += weight * pull(h, power)
			}
			s.v.grad[j] = g * slope
		}
		sums[i] += float32(sum)
	})
	if s.t.x != nil {
		clear(s.t.grad)
		for i, v := range sums {
			s.t.grad[s.group(i)] += v
		}
	}
}

// pull is the derivative of 1−|2h−1|^power.
func pull(h float32, power int) float32 {
	d := 2*h - 1
	if d < 0 {
		return -pull(1-h, power)
	}
	p := float32(-2 * power)
	for n, square := power-1, d; n > 0; n, square = n/2, square*square {
		if n%2 == 1 {
			p *= square
		}
	}
	return p
}

// step moves v and t.
func (s *soft) step(number int, o quant.Reconstruct) {
	for _, u := range []struct {
		variable
		lr float32
	}{{s.v, o.LR}, {s.t, o.ScaleLR}} {
		step := adamw.Step{Number: number, LR: float64(u.lr), Betas: [2]float64{0.9, 0.999}}
		kernels.Parallel(len(u.x), 1<<13, func(lo, hi int) {
			step.Update(u.x[lo:hi], u.grad[lo:hi], u.mean[lo:hi], u.square[lo:hi])
		})
	}
}

// hard returns the weight with the code that each h is nearer to, and the scales that have
// come out.
func (s *soft) hard() *quant.Weight {
	w := *s.weight
	w.Codes = make([]int8, len(s.below))
	s.each(func(from, to, _ int) {
		for j := from; j < to; j++ {
			w.Codes[j] = s.below[j]
			if s.v.x == nil {
				continue
			}
			if s.v.x[j] >= 0 { // where h is 1/2
				w.Codes[j]++
			}
		}
	})
	if s.t.x == nil {
		return &w
	}
	if w.LowPower() {
		multiples := w.Multiples()
		w.Channels, w.Scales = make([]float32, s.groups), make([]float32, len(s.scales))
		for i, c := range s.weight.Channels {
			w.Channels[i] = encoding.ChannelScale(c * float32(math.Exp(float64(s.t.x[i]))))
		}
		for i, k := range multiples {
			w.SetMultiple(i, k)
		}
		return &w
	}
	w.Scales = make([]float32, len(s.scales))
	for i := range w.Scales {
		w.Scales[i] = s.scale(i)
	}
	return &w
}

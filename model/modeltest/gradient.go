package modeltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model"
)

// Tensor is a tensor that a value depends on, and the gradient of the value that is
// to be checked.
type Tensor struct {
	Name    string
	X, Grad []float32
}

// Gradients compares gradients with central differences of a value that is computed
// in float32.
//
// A difference is taken along a direction of random signs: each component counts
// alike, whatever the gradient is, so that one that is missing shifts the derivative
// by all of its size. The gradient's own direction, along which a missing component
// is not seen, is never used.
//
// How much the two may differ follows from the value alone:
//
//   - the truncation error of the difference, which is extrapolated from halved steps
//     and estimated from what the extrapolation changes (Ridders, Accurate computation
//     of F'(x) and F'(x)F"(x), Advances in Engineering Software 4(2), 1982), twelve times
//     that, since values need not be smooth: ELU's second derivative jumps. Where it is much
//     the step is halved further, so that it costs time, and no sharpness;
//   - the rounding noise of the value, measured by differences of high order over a
//     distance at which nothing else is left of it (Moré and Wild, Estimating
//     Computational Noise, SIAM J. Sci. Comput. 33(3), 2011), divided by the step;
//   - the rounding of the gradient, a sum of float32 products.
//
// The step is the one at which they are smallest together. A check whose tolerance is
// more than a twentieth of the gradient's length fails, since it would say nothing: the
// case has to be changed.
type Gradients struct {
	// Value computes the value from the tensors as they stand.
	Value func() float64
	// Zero names tensors whose gradient is zero by the mathematics of the case, with
	// the reason. All others must have a gradient that is nowhere zero.
	Zero map[string]string

	noise float64 // standard deviation of the value's rounding
	known bool
}

const (
	// firstStep is the length of the first step of differences: parameters of the cases
	// are of the order of one. It is halved up to so many times.
	firstStep, halvings = 1.0 / 2, 8
	// directions is how many directions a check takes.
	directions = 2
	// noiseDeviations is how many standard deviations of rounding noise a difference
	// may be off: no check of some ten thousand is by chance.
	noiseDeviations = 6
	// gradientRounding is the relative rounding error of a gradient: sums of up to
	// some thousand float32 products.
	gradientRounding = 1024.0 / (1 << 24)
	// resolution is the largest tolerance in parts of the gradient's length: kernels whose
	// sums round more, such as those in plain Go, stay below it. Steps are halved no
	// further once a tolerance of sharp is reached.
	resolution, sharp = 1.0 / 20, 1.0 / 500
)

// Check checks the gradient of each tensor alone.
func (g *Gradients) Check(t testing.TB, tensors ...Tensor) {
	t.Helper()
	for _, x := range tensors {
		if g.nonZero(t, x) {
			g.along(t, x.Name, directions, x)
		}
	}
}

// CheckParams checks the gradient of each trained tensor, alone and together with the
// others of its group and layer.
func (g *Gradients) CheckParams(t testing.TB, params, grads *model.Params) {
	t.Helper()
	for i := range params.Layers {
		list, of := params.Layers[i].List(), grads.Layers[i].List()
		groups := map[model.Group][]Tensor{}
		for j, p := range list {
			x := Tensor{p.Name, p.Data, of[j].Data}
			if g.nonZero(t, x) {
				groups[p.Group] = append(groups[p.Group], x)
			}
		}
		for _, name := range model.Groups {
			all := groups[name]
			if len(all) > 0 {
				g.along(t, fmt.Sprintf("layer %d, group %s", i, name), directions, all...)
			}
			for _, x := range all {
				if len(all) > 1 {
					g.along(t, x.Name, 1, x)
				}
			}
		}
	}
}

// nonZero fails the test where a gradient is zero that should not be, or the other
// way round, and says whether there is a gradient.
func (g *Gradients) nonZero(t testing.TB, x Tensor) bool {
	t.Helper()
	if len(x.Grad) != len(x.X) {
		t.Errorf("%s: a gradient of %d values for %d", x.Name, len(x.Grad), len(x.X))
		return false
	}
	zeros := 0
	for _, v := range x.Grad {
		if v == 0 {
			zeros++
		}
	}
	reason, zero := g.Zero[x.Name]
	switch {
	case zero && zeros < len(x.Grad):
		t.Errorf("%s: %d of %d components of the gradient are not zero, though %s", x.Name, len(x.Grad)-zeros, len(x.Grad), reason)
	case !zero && zeros > 0:
		t.Errorf("%s: %d of %d components of the gradient are zero, the first is number %d; name the tensor among those that have none if that is right", x.Name, zeros, len(x.Grad), slices.Index(x.Grad, 0))
	}
	return len(x.Grad) > 0
}

// along compares the derivative of tensors along n random directions with differences.
func (g *Gradients) along(t testing.TB, what string, n int, tensors ...Tensor) {
	t.Helper()
	if !g.known {
		g.noise, g.known = g.measureNoise(tensors), true
	}
	for i := range uint64(n) {
		signs := randomSigns(i, tensors)
		want, length := 0.0, 0.0
		for j, x := range tensors {
			for k, v := range x.Grad {
				want += float64(v) * float64(signs[j][k])
				length += float64(v) * float64(v)
			}
		}
		length = math.Sqrt(length)
		got, tolerance := g.difference(tensors, signs, length*sharp)
		tolerance += gradientRounding * length
		if !(math.Abs(got-want) <= tolerance) {
			t.Errorf("%s, direction %d: derivative %.6g, finite difference %.6g ± %.2g; the gradient's length is %.4g", what, i, want, got, tolerance, length)
		}
		if length > 0 && tolerance > resolution*length {
			t.Errorf("%s, direction %d: differences are exact to %.2g (the value to %.2g), which says nothing of a gradient of length %.4g", what, i, tolerance, noiseDeviations*g.noise, length)
		}
	}
}

// randomSigns returns a direction of ones and minus ones.
func randomSigns(seed uint64, tensors []Tensor) [][]float32 {
	signs, r := make([][]float32, len(tensors)), rand.New(rand.NewPCG(seed, uint64(len(tensors[0].X))))
	for j, x := range tensors {
		signs[j] = make([]float32, len(x.X))
		for k := range signs[j] {
			signs[j][k] = float32(2*r.IntN(2) - 1)
		}
	}
	return signs
}

// difference is the central difference along a direction and a bound of its error. It
// stops at an error that is small enough.
func (g *Gradients) difference(tensors []Tensor, signs [][]float32, enough float64) (best, bound float64) {
	n := 0
	for _, x := range tensors {
		n += len(x.X)
	}
	at, step, table := g.line(tensors, signs), firstStep/math.Sqrt(float64(n)), [][]float64{}
	bound = math.Inf(1)
	for i := range halvings + 1 {
		row := []float64{(at(step) - at(-step)) / (2 * step)}
		for j := 1; j <= i; j++ { // column j is exact to the order 2j+2
			last := table[i-1][j-1]
			next := row[j-1] + (row[j-1]-last)/(math.Exp2(float64(2*j))-1)
			row = append(row, next)
			// What halving the step and what one more order change, and rounding, which
			// extrapolation raises by less than a half.
			change := max(math.Abs(next-row[j-1]), math.Abs(next-last))
			if e := 12*change + noiseDeviations*g.noise/step; j >= 2 && e < bound {
				best, bound = next, e
			}
		}
		if bound <= enough {
			break
		}
		table, step = append(table, row), step/2
	}
	return best, bound
}

// line returns the value as a function of the distance along a direction.
func (g *Gradients) line(tensors []Tensor, signs [][]float32) func(distance float64) float64 {
	return func(distance float64) float64 {
		was := make([][]float32, len(tensors))
		for j, x := range tensors {
			was[j] = slices.Clone(x.X)
			for k, s := range signs[j] {
				x.X[k] += float32(distance) * s
			}
		}
		value := g.Value()
		for j, x := range tensors {
			copy(x.X, was[j])
		}
		return value
	}
}

// measureNoise estimates the standard deviation of the value's rounding.
func (g *Gradients) measureNoise(tensors []Tensor) float64 {
	const points, spacing = 9, 1e-5
	at, table := g.line(tensors, randomSigns(99, tensors)), make([]float64, points)
	for i := range table {
		table[i] = at(float64(i-points/2) * spacing)
	}
	// The differences of order n of independent errors have (2n)!/(n!)² times their
	// variance; those of the value's smooth part are gone from the fourth order on.
	worst, factor := 0.0, 1.0
	for n := 1; n < points-2; n++ {
		for i := range points - n {
			table[i] = table[i+1] - table[i]
		}
		factor *= float64(2*n*(2*n-1)) / float64(n*n)
		if n < 4 {
			continue
		}
		sum := 0.0
		for _, v := range table[:points-n] {
			sum += v * v
		}
		worst = max(worst, math.Sqrt(sum/float64(points-n)/factor))
	}
	return worst
}

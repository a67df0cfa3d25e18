package quant

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/quant/encoding"
)

// learner fits a rotation Q to what rounding does to the tensors that it turns, by SGD with
// momentum along Cayley transforms (Li, Fuxin and Todorovic, arXiv 2002.01113, which
// SpinQuant, 2405.16406, section 3.2, uses on the loss of the network). The objective here is
// the noise of rounding, as a share of the signal and averaged over tensors: a number that is
// rounded in steps of Δ has an error of variance Δ²/12, and Δ of a row is its largest
// magnitude over 2^(bits−1), so that a row y of n numbers has
//
//	n·max|y|²/(3·4^bits) / ‖y‖²
//
// Rows are the output channels of maps, and tokens of activations (whose scale is the
// tensor's; a token's own is what a rotation can lower). What is descended is the same with
// the p-norm in the place of the maximum, p = 10; what is compared at the end is the maximum.
type learner struct {
	steps                     int
	random                    *rand.Rand
	weights, head, activation float64 // noiseShare of their formats
}

// noiseShare is 1/(3·4^bits), 0 of what stays in float.
func noiseShare(f encoding.Format) float64 {
	if f.None() {
		return 0
	}
	return 1 / (3 * math.Pow(4, float64(f.Bits)))
}

// The step of learning: the angle in radians that a mean dimension is turned by at first,
// which falls to zero in a line, and the share of the direction before in the next one. Of
// angles from 0.015 to 0.12, 0.03 ended lowest on the demo base after 100 steps.
const (
	learnAngle    = 0.03
	learnMomentum = 0.9
	learnNorm     = 10 // p
)

// term is one tensor of the objective: rows y = xQ of x [n,d], or of a map that writes to
// what is rotated y = Qᵀx of x [d,n].
type term struct {
	x     []float32
	n     int
	write bool
	share float64 // of noise, see noiseShare
}

// problem gives the terms of an objective: batch those of one step, all those that rotations
// are compared by, one group after the other. Terms are used until the next ones are asked
// for.
type problem interface {
	batch(random *rand.Rand) []term
	all(yield func([]term) bool)
}

// learn fits q [d,d]. It returns the rotation and the objective of q and of the result.
func (l *learner) learn(ctx context.Context, p problem, q []float32, d int) (learned []float32, before, after float64, err error) {
	if before, err = objective(ctx, p, q, d); err != nil {
		return nil, 0, 0, err
	}
	learned = slices.Clone(q)
	momentum, gradient, skew := make([]float32, d*d), make([]float32, d*d), make([]float32, d*d)
	for step := range l.steps {
		if err := ctx.Err(); err != nil {
			return nil, 0, 0, err
		}
		clear(gradient)
		for _, t := range p.batch(l.random) {
			t.gradient(gradient, learned, d)
		}
		direction(skew, gradient, learned, d)
		normalize(skew, d)
		kernels.Scale(learnMomentum, momentum)
		kernels.Axpy(1-learnMomentum, skew, momentum)
		copy(skew, momentum)
		normalize(skew, d)
		kernels.Scale(learnAngle*float32(l.steps-step)/float32(l.steps), skew)
		cayley(learned, skew, d)
	}
	learned = orthogonal(learned, d)
	after, err = objective(ctx, p, learned, d)
	return learned, before, after, err
}

// objective is the mean noise of all tensors.
func objective(ctx context.Context, p problem, q []float32, d int) (float64, error) {
	total, n := 0.0, 0
	for terms := range p.all {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for _, t := range terms {
			total, n = total+t.noise(q, d), n+1
		}
	}
	if n == 0 || math.IsNaN(total) {
		return 0, fmt.Errorf("the rounding noise of %d tensors is no number", n)
	}
	return total / float64(n), nil
}

// turned returns y, to be released, and the length of its rows.
func (t term) turned(q []float32, d int) (y []float32, width int) {
	y = scratch.Borrow(t.n * d)
	if t.write {
		kernels.Gemm(true, false, d, t.n, d, 1, q, d, t.x, t.n, 0, y, t.n)
		return y, t.n
	}
	kernels.Gemm(false, false, t.n, d, d, 1, t.x, d, q, d, 0, y, d)
	return y, d
}

// noise is the term's part of the objective.
func (t term) noise(q []float32, d int) float64 {
	y, width := t.turned(q, d)
	defer scratch.Release(y)
	most, signal := 0.0, 0.0
	for row := range slices.Chunk(y, width) {
		m := float64(max(slices.Max(row), -slices.Min(row)))
		most += m * m
		signal += float64(kernels.Dot(row, row))
	}
	if signal == 0 {
		return 0
	}
	return t.share * float64(width) * most / signal
}

// gradient adds that of the p-norm's form of noise. The signal does not depend on q.
func (t term) gradient(g, q []float32, d int) {
	y, width := t.turned(q, d)
	defer scratch.Release(y)
	signal := float64(kernels.Dot(y, y))
	if signal == 0 {
		return
	}
	factor := float32(2 * t.share * float64(width) / signal)
	kernels.Parallel(len(y)/width, 16, func(lo, hi int) {
		for row := range slices.Chunk(y[lo*width:hi*width], width) {
			powerGradient(row, factor)
		}
	})
	if t.write { // y = Qᵀx: dQ = x·dyᵀ
		kernels.Gemm(false, true, d, d, t.n, 1, t.x, t.n, y, t.n, 1, g, d)
		return
	}
	kernels.Gemm(true, false, d, d, t.n, 1, t.x, d, y, d, 1, g, d)
}

// powerGradient replaces a row y by factor/2 times the gradient of ‖y‖ₚ²: with m = max|y| and
// u = y/m it is m·‖u‖ₚ^(2−p)·|u|^(p−1)·sign u.
func powerGradient(row []float32, factor float32) {
	m := max(slices.Max(row), -slices.Min(row))
	if m == 0 {
		return
	}
	sum := float32(0)
	for i, v := range row {
		u := v / m
		u2 := u * u
		u8 := u2 * u2 * u2 * u2
		sum += u8 * u2
		row[i] = u8 * u
	}
	kernels.Scale(factor*m*float32(math.Pow(float64(sum), 2.0/learnNorm-1)), row)
}

// direction is the skew matrix A = GQᵀ − QGᵀ along which the objective rises.
func direction(a, g, q []float32, d int) {
	kernels.Gemm(false, true, d, d, d, 1, g, d, q, d, 0, a, d)
	for i := range d {
		for j := range i {
			v := a[i*d+j] - a[j*d+i]
			a[i*d+j], a[j*d+i] = v, -v
		}
		a[i*d+i] = 0
	}
}

// normalize gives a matrix the Frobenius norm √d: each dimension turns by about one radian.
func normalize(a []float32, d int) {
	if n := math.Sqrt(float64(kernels.Dot(a, a))); n > 0 {
		kernels.Scale(float32(math.Sqrt(float64(d))/n), a)
	}
}

// cayley replaces q by (I + A/2)⁻¹(I − A/2)q, by the fixed point of y = q − A/2·(q + y), as
// in arXiv 2002.01113, algorithm 1.
func cayley(q, a []float32, d int) {
	const iterations = 4
	y, sum := scratch.Borrow(len(q)), scratch.Borrow(len(q))
	defer scratch.Release(y, sum)
	copy(y, q)
	for range iterations {
		copy(sum, q)
		kernels.Add(sum, y)
		copy(y, q)
		kernels.Gemm(false, false, d, d, d, -0.5, a, d, sum, d, 1, y, d)
	}
	copy(q, y)
	polish(q, d)
}

// polish is a step of Newton and Schulz towards the nearest orthogonal matrix,
// (3Q − QQᵀQ)/2.
func polish(q []float32, d int) {
	product, y := scratch.Borrow(len(q)), scratch.Borrow(len(q))
	defer scratch.Release(product, y)
	copy(y, q)
	kernels.Gemm(false, true, d, d, d, 1, q, d, q, d, 0, product, d)
	kernels.Gemm(false, false, d, d, d, -0.5, product, d, q, d, 1.5, y, d)
	copy(q, y)
}

// orthogonal is polish in float64, twice: what is left is float32's rounding.
func orthogonal(q []float32, d int) []float32 {
	wide := make([]float64, len(q))
	for i, v := range q {
		wide[i] = float64(v)
	}
	m := mat.NewDense(d, d, wide)
	for range 2 {
		var product, next mat.Dense
		product.Mul(m, m.T())
		next.Mul(&product, m)
		next.Scale(-0.5, &next)
		m.Scale(1.5, m)
		m.Add(m, &next)
	}
	out := make([]float32, len(q))
	for i, v := range m.RawMatrix().Data {
		out[i] = float32(v)
	}
	return out
}

// streamProblem is the objective of R1: what reads and writes the residual stream, layer by
// layer, and the head. Of maps that read, some rows stand for all.
type streamProblem struct {
	base    *model.Base
	seen    *Channels
	learner *learner
	buffers [][]float32 // of the terms given last
}

// readerRows is how many rows of a map that reads the stream are looked at in a step.
const readerRows = 512

func (p *streamProblem) batch(random *rand.Rand) []term {
	return p.layer(random.IntN(len(p.base.Layers)+1), random)
}

func (p *streamProblem) all(yield func([]term) bool) {
	random := rand.New(rand.NewPCG(1, 2)) // the same rows for every rotation
	for i := range len(p.base.Layers) + 1 {
		if !yield(p.layer(i, random)) {
			return
		}
	}
}

// new is a buffer for one of the next terms.
func (p *streamProblem) new(n int) []float32 {
	x := scratch.Borrow(n)
	p.buffers = append(p.buffers, x)
	return x
}

// layer is the terms of a layer, those of the head behind the last one.
func (p *streamProblem) layer(i int, random *rand.Rand) []term {
	scratch.Release(p.buffers...)
	p.buffers = p.buffers[:0]
	b, s := p.base, p.learner
	if i == len(b.Layers) {
		return slices.Concat(
			p.reader(b.Head, b.Norm, s.head, random),
			p.activation(HeadInput, b.Norm))
	}
	l := b.Layers[i]
	var terms []term
	for _, w := range []*model.Linear{l.Q, l.K, l.V} {
		terms = append(terms, p.reader(w, l.InputNorm, s.weights, random)...)
	}
	for _, w := range []*model.Linear{l.Gate, l.Up} {
		terms = append(terms, p.reader(w, l.PostAttentionNorm, s.weights, random)...)
	}
	for _, w := range []*model.Linear{l.O, l.Down} {
		if s.weights != 0 {
			terms = append(terms, term{x: p.written(w), n: w.In, write: true, share: s.weights})
		}
	}
	return slices.Concat(terms, p.activation(in(l.Q.Name), l.InputNorm), p.activation(in(l.Gate.Name), l.PostAttentionNorm))
}

// written is a map that writes to the stream, without the mean that norms subtract.
func (p *streamProblem) written(l *model.Linear) []float32 {
	x := p.new(l.In * l.Out)
	l.Rows(x, 0, l.Out)
	if p.base.Norm.Center {
		mean := make([]float32, l.In)
		for row := range slices.Chunk(x, l.In) {
			kernels.Axpy(1/float32(l.Out), row, mean)
		}
		for row := range slices.Chunk(x, l.In) {
			kernels.Axpy(-1, mean, row)
		}
	}
	return x
}

// reader is some rows of a map behind a norm.
func (p *streamProblem) reader(l *model.Linear, n *model.Norm, share float64, random *rand.Rand) []term {
	if share == 0 {
		return nil
	}
	rows := min(l.Out, readerRows)
	x := p.new(rows * l.In)
	for i := range rows {
		at := i
		if rows < l.Out {
			at = random.IntN(l.Out)
		}
		l.Rows(x[i*l.In:(i+1)*l.In], at, at+1)
	}
	if n != nil {
		multiplyRows(x, n.Weight)
	}
	return []term{{x: x, n: rows, share: share}}
}

// activation is what was kept of a point, before the norm's weights.
func (p *streamProblem) activation(point string, n *model.Norm) []term {
	if p.learner.activation == 0 {
		return nil
	}
	x := unweighed(p.seen.points[point].Rows, n)
	return []term{{x: x, n: len(x) / p.base.Dims.Hidden, share: p.learner.activation}}
}

// unweighed takes weights and bias of a norm off rows that it has put out.
func unweighed(rows []float32, n *model.Norm) []float32 {
	x := slices.Clone(rows)
	if n == nil {
		return x
	}
	for row := range slices.Chunk(x, len(n.Weight)) {
		for i := range row {
			if n.Bias != nil {
				row[i] -= n.Bias[i]
			}
			if n.Weight[i] != 0 {
				row[i] /= n.Weight[i]
			}
		}
	}
	return x
}

// fixedProblem is small enough to be looked at as a whole in each step.
type fixedProblem []term

func (p fixedProblem) batch(*rand.Rand) []term     { return p }
func (p fixedProblem) all(yield func([]term) bool) { yield(p) }

// valueProblem is the objective of R2 of a KV head: the rows of v_proj that make its values,
// the columns of o_proj that read them, and what o_proj reads [n,H·d].
func valueProblem(s *learner, l *model.Layer, dims model.Dims, kv int, output, seen []float32) problem {
	d, group, width := dims.HeadDim, dims.Heads/dims.KVHeads, l.O.In
	rows := make([]float32, d*l.V.In)
	l.V.Rows(rows, kv*d, (kv+1)*d)
	p := fixedProblem{{x: rows, n: l.V.In, write: true, share: s.weights}}
	for h := kv * group; h < (kv+1)*group; h++ {
		p = append(p,
			term{x: headColumns(output, h, d, width), n: l.O.Out, share: s.weights},
			term{x: headColumns(seen, h, d, width), n: len(seen) / width, share: s.activation})
	}
	return p
}

// headColumns are columns [h·d,(h+1)·d) of rows of some width.
func headColumns(x []float32, h, d, width int) []float32 {
	var out []float32
	for row := range slices.Chunk(x, width) {
		out = append(out, row[h*d:(h+1)*d]...)
	}
	return out
}

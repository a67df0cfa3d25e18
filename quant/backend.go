package quant

import (
	"slices"

	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
)

// visit is shown a tensor that may have a point and may change it: whatever reads it
// afterwards sees the change. Cores call it side by side. The scores and probabilities of a
// query are a tensor of their own.
type visit func(point string, x []float32)

// taps is what the backends of a model's blocks share.
type taps struct {
	model *model.Model
	visit visit
	// steps carries out what is between maps in the steps of graphs, so that points inside
	// the block are visited, too.
	steps bool
	// watch leaves what is computed as it would be without steps, which go beside it.
	watch  bool
	whole  bool // the first layer is the base's first, and reads embeddings
	layers []layerTaps
}

// layerTaps are a layer's points and constants.
type layerTaps struct {
	Inner
	output        string // point of o_proj's input
	queryScale    []float32
	residualScale float32
}

// newTaps returns what visits a model's points.
func newTaps(m *model.Model, steps, watch bool, v visit) *taps {
	t := &taps{model: m, visit: v, steps: steps, watch: watch, whole: number(m.Base.Layers[0]) == "0"}
	visited := func(x []float32) []float32 {
		y := slices.Clone(x)
		v(ConstantPoint(x), y)
		return y
	}
	for _, l := range m.Base.Layers {
		lt := layerTaps{Inner: InnerPoints(l), output: InputPoint(l, l.O), queryScale: visited(QueryScale(l))}
		if l.ResidualScale != 0 {
			lt.residualScale = visited([]float32{l.ResidualScale})[0]
		}
		t.layers = append(t.layers, lt)
	}
	return t
}

// wrap is the decorator of a stream.
func (t *taps) wrap(o model.Ops[[]float32], _ int) model.Ops[[]float32] {
	return &backend{Ops: o, taps: t}
}

// backend is the slice backend of some rows that shows every tensor that may have a point
// to visit. The block description runs q_proj before k_proj and v_proj, and gate_proj
// before up_proj, so that a shared input is visited, under its only name, before any of
// them reads it.
type backend struct {
	model.Ops[[]float32]
	*taps
	entered     bool // the first layer
	feedForward bool // the next residual sum is of the feed-forward layer
}

// enter visits what enters the first layer: what the first step of all reads.
func (b *backend) enter(x []float32) {
	if !b.entered && b.whole {
		b.visit(EmbeddingPoint, x)
	}
	b.entered = true
}

// Linear visits what a map reads and makes.
func (b *backend) Linear(l *model.Linear, x []float32) []float32 {
	name := l.Name
	if l == b.model.Base.Head {
		name = HeadName
	}
	b.visit(in(name), x)
	y := b.Ops.Linear(l, x)
	b.visit(out(name), y)
	return y
}

// Norm visits what a norm makes.
func (b *backend) Norm(n *model.Norm, x []float32) []float32 {
	b.enter(x)
	y := b.Ops.Norm(n, x)
	b.visit(NormPoint(n), y)
	return y
}

// Copy is visited where maps read it.
func (b *backend) Copy(x []float32) []float32 {
	b.enter(x)
	return b.Ops.Copy(x)
}

// GatedProduct is gate·σ(gate) and then times up, or the GELU of gate times up.
func (b *backend) GatedProduct(l *model.Layer, gate, up []float32) []float32 {
	b.feedForward = true
	if !b.steps {
		return b.Ops.GatedProduct(l, gate, up)
	}
	p, act := b.layers[l.Index], b.Ops.Copy(gate)
	if l.Activation == model.SiLU {
		s := scratch.Borrow(len(gate))
		kernels.Sigmoid(s, gate)
		b.visit(p.Sigmoid, s)
		kernels.Mul(act, s)
		scratch.Release(s)
	} else {
		ones := scratch.Borrow(len(gate))
		for i := range ones {
			ones[i] = 1
		}
		l.Activation.Product(act, gate, ones)
		scratch.Release(ones)
	}
	b.visit(p.Act, act)
	if b.watch {
		return b.Ops.GatedProduct(l, gate, up)
	}
	kernels.Mul(act, up)
	return act
}

// Residual is x + r·y.
func (b *backend) Residual(l *model.Layer, x, y []float32) []float32 {
	p := b.layers[l.Index]
	scaled, sum := p.AttentionScaled, p.AttentionResidual
	if b.feedForward {
		scaled, sum = p.FeedForwardScaled, p.FeedForwardResidual
	}
	b.feedForward = false
	if !b.steps {
		return b.Ops.Residual(l, x, y)
	}
	if l.ResidualScale != 0 {
		kernels.Scale(p.residualScale, y)
		b.visit(scaled, y)
	}
	kernels.Add(y, x)
	b.visit(sum, y)
	return y
}

// TurnKeys implements [model.KeyTurner].
func (b *backend) TurnKeys(l *model.Layer, dst, k []float32, rows int, cos, sin []float32) {
	d := b.model.Base.Dims
	if b.steps && !l.Rotary.None() {
		b.turn(b.layers[l.Index].Keys, dst, k, rows, d.KVHeads, cos, sin)
	}
	if !b.steps || b.watch || l.Rotary.None() {
		model.RotateRows(dst, k, rows, d.KVHeads, d.HeadDim, cos, sin, false)
	}
}

// turn is rotary embedding of rows x [rows,heads·d] in the steps of graphs, whose results
// are all of one point: the products of both halves of what turns with both tables, their
// difference and sum, and these and what does not turn one behind the other.
func (b *backend) turn(point string, dst, x []float32, rows, heads int, cos, sin []float32) {
	d, m := b.model.Base.Dims.HeadDim, len(cos)/rows
	n := rows * heads * m
	all := scratch.Borrow(4*n + 2*len(cos))
	defer scratch.Release(all)
	c, s := all[4*n:4*n+len(cos)], all[4*n+len(cos):]
	copy(c, cos)
	copy(s, sin)
	b.visit(RotaryPoint, c)
	b.visit(RotaryPoint, s)
	ac, bs, bc, as := all[:n], all[n:2*n], all[2*n:3*n], all[3*n:4*n]
	for i := range rows * heads {
		t, h, at := i/heads, x[i*d:i*d+2*m], i*m
		for j, y := range h[:m] {
			co, si, z := c[t*m+j], s[t*m+j], h[m+j]
			ac[at+j], bs[at+j], bc[at+j], as[at+j] = y*co, z*si, z*co, y*si
		}
	}
	b.visit(point, all[:4*n])
	kernels.Axpy(-1, bs, ac)
	kernels.Add(bc, as)
	for i := range rows * heads {
		h := dst[i*d : (i+1)*d]
		copy(h[2*m:], x[i*d+2*m:(i+1)*d])
		copy(h, ac[i*m:(i+1)*m])
		copy(h[m:], bc[i*m:(i+1)*m])
	}
	b.visit(point, dst[:rows*heads*d])
}

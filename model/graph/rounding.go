package graph

import (
	G "gorgonia.org/gorgonia"

	"eisft/model"
)

// Rounding is how the activations of a quantized model are rounded. Gradients pass it as if
// it were not there (the straight-through estimator, arXiv 1308.3432, section 4).
type Rounding struct {
	// Wrap rounds in streams, which an engine records.
	Wrap model.Wrap
	// Round rounds x, a tensor of a layer, in place, as Wrap does: in programs. Of the output
	// projection and the logits the layer is nil. Cores call it side by side.
	Round func(layer *model.Layer, at Site, x []float32)
}

// Site is a tensor of a block: what a map or a norm puts out, or what a map reads.
type Site struct {
	Map    model.Role     // of a tensor that several maps read, the first of them
	Norm   model.NormRole // "" of a map's
	Output bool
}

// wrapped is what Rounding makes of a stream's backend.
func (r *Rounding) wrapped(o model.Ops[[]float32], first int) model.Ops[[]float32] {
	if r == nil {
		return o
	}
	return r.Wrap(o, first)
}

// wrap is the decorator of an engine's streams, nil if there is nothing to round.
func (r *Rounding) wrap() model.Wrap {
	if r == nil {
		return nil
	}
	return r.Wrap
}

// rounded returns the nodes with a step of rounding at every site, if the program rounds.
func (b *builder) rounded(o model.Ops[*G.Node]) model.Ops[*G.Node] {
	if !b.key.rounded {
		return o
	}
	return &roundedNodes{Ops: o, builder: b, read: map[*G.Node]*G.Node{}}
}

// roundedNodes decorates the block's nodes.
type roundedNodes struct {
	model.Ops[*G.Node]
	*builder
	read map[*G.Node]*G.Node // what maps read of a node that several of them read
}

func (r *roundedNodes) Linear(l *model.Linear, x *G.Node) *G.Node {
	role := r.layer.RoleOf(l)
	rounded := r.read[x]
	if rounded == nil {
		rounded = r.round(Site{Map: role}, x)
		r.read[x] = rounded
	}
	return r.round(Site{Map: role, Output: true}, r.Ops.Linear(l, rounded))
}

func (r *roundedNodes) Norm(n *model.Norm, x *G.Node) *G.Node {
	return r.round(Site{Norm: r.layer.NormRoleOf(n), Output: true}, r.Ops.Norm(n, x))
}

// round is a step that rounds, if the program rounds.
func (b *builder) round(at Site, x *G.Node) *G.Node {
	if !b.key.rounded {
		return x
	}
	return b.apply("round", shapeOf(x), func(out []float32, in [][]float32) {
		copy(out, in[0])
		b.frame.run.round(b.frame.run.layer, at, out)
	}, func(grads [][]float32, dOut, _ []float32, _ [][]float32) {
		copy(grads[0], dOut)
	}, x)
}

package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/model"
	"eisft/model/kernels"
)

// shape is what tells one block program from another: T new tokens, N slots
// with a retention score, whether the memory is in use.
type shape struct {
	tokens, slots int
	memory        bool
}

// blockNodes is the backend that turns the block's description into nodes.
// The layer it is given is a template: ops find the weights of the layer of
// the current run at the same place.
type blockNodes struct {
	*builder
	model         *model.Model
	shape         shape
	template      *model.Layer
	score, memory *G.Node

	featureQ, readMap *G.Node
	gate              G.Nodes
}

// blockParams are the trained parameters of a block program, in input order.
func blockParams(p *model.LayerParams) []*model.Param {
	return append([]*model.Param{p.FeatureQ, p.ReadMap}, p.Gate...)
}

func newBlockNodes(m *model.Model, s shape) *blockNodes {
	return &blockNodes{builder: newBuilder(), model: m, shape: s, template: m.Base.Layers[0]}
}

// stateInputs adds the slots' scores [N,K], the memory [K,F,d+1] and the
// parameters as inputs, as far as the shape has them.
func (b *blockNodes) stateInputs() {
	d := b.dims()
	if b.shape.slots > 0 {
		b.score = b.input("score", false, b.shape.slots, d.KVHeads)
	}
	if !b.shape.memory {
		return
	}
	b.memory = b.input("memory", false, d.KVHeads, b.model.Spec.FeatureSize(d.HeadDim), d.HeadDim+1)
	p := blockParams(&b.model.Params.Layers[0])
	b.featureQ, b.readMap = b.param("feature_q", p[0]), b.param("read_map", p[1])
	for i, q := range p[2:] {
		b.gate = append(b.gate, b.param(fmt.Sprintf("gate.%d", i), q))
	}
}

// newBlock builds the program of one layer: x [T,D] and the state's inputs to
// the layer's output [T,D].
func newBlock(m *model.Model, s shape) (*program, error) {
	b := newBlockNodes(m, s)
	x := b.input("x", false, s.tokens, b.dims().Hidden)
	b.stateInputs()
	return b.compile(model.Forward[*G.Node](b, m.Spec, b.template, x))
}

func (b *blockNodes) Norm(n *model.Norm, x *G.Node) *G.Node {
	role := b.template.NormRoleOf(n)
	norm := func() *model.Norm { return b.frame.run.layer.Norm(role) }
	return b.apply("norm", shapeOf(x), func(out []float32, in [][]float32) {
		norm().Apply(out, in[0])
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		n := norm()
		kernels.RMSNormGrad(grads[0], dOut, in[0], n.Weight, len(dOut)/len(n.Weight), len(n.Weight), n.Eps)
	}, x)
}

func (b *blockNodes) Linear(l *model.Linear, x *G.Node) *G.Node {
	role := b.template.RoleOf(l)
	return b.linear(func() *model.Linear { return b.frame.run.layer.Map(role) }, l.Out, x)
}

// linear is a frozen map; which one is asked at run time.
func (b *builder) linear(l func() *model.Linear, out int, x *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	return b.apply("linear", tensor.Shape{x.Shape()[0], out}, func(out []float32, in [][]float32) {
		l().Apply(out, in[0])
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		l().Backward(grads[0], dOut)
	}, x)
}

func (b *blockNodes) GatedProduct(l *model.Layer, gate, up *G.Node) *G.Node {
	return b.apply("gated_product", shapeOf(gate), func(out []float32, in [][]float32) {
		l.Activation.Product(out, in[0], in[1])
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		l.Activation.ProductBackward(grads[0], grads[1], dOut, in[0], in[1])
	}, gate, up)
}

func (b *blockNodes) Add(x, y *G.Node) *G.Node {
	return b.apply("add", shapeOf(x), func(out []float32, in [][]float32) {
		copy(out, in[0])
		kernels.Add(out, in[1])
	}, func(grads [][]float32, dOut, _ []float32, _ [][]float32) {
		copy(grads[0], dOut)
		copy(grads[1], dOut)
	}, x, y)
}

// Remember does nothing: the state is written by the recorded forward pass,
// and stored keys, values and inputs are constants for differentiation.
func (b *blockNodes) Remember(*model.Layer, *G.Node, *G.Node, *G.Node) {}

func (b *blockNodes) MemoryInUse() bool { return b.shape.memory }

func (b *blockNodes) dims() model.Dims { return b.model.Base.Dims }

func (b *blockNodes) ReadMemory(_ *model.Layer, q *G.Node) *G.Node {
	mem, d, rows := model.Memory{Spec: b.model.Spec, Dims: b.dims()}, b.dims(), b.shape.tokens
	at := places(q, b.memory, b.featureQ, b.readMap)
	return b.apply("read_memory", tensor.Shape{rows, d.Heads * (d.HeadDim + 1)}, func(out []float32, in [][]float32) {
		mem.Read(out, in[0], in[1], at.of(in, 2), at.of(in, 3), rows)
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		g := model.ReadGrads{Q: grads[0], Memory: grads[1], FeatureQ: at.of(grads, 2), ReadMap: at.of(grads, 3)}
		mem.ReadBackward(g, dOut, in[0], in[1], at.of(in, 2), at.of(in, 3), rows)
	}, q, b.memory, b.featureQ, b.readMap)
}

func (b *blockNodes) GateLogit(_ *model.Layer, q, read *G.Node) *G.Node {
	gate := model.GateOp{Gate: b.model.Spec.Gate, Dims: b.dims()}
	inputs := func(x [][]float32) model.GateInputs { return model.GateInputs{Q: x[0], Read: x[1], Params: x[2:]} }
	return b.apply("gate_logit", tensor.Shape{b.shape.tokens, gate.Width()}, func(out []float32, in [][]float32) {
		gate.Logit(out, inputs(in))
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		gate.LogitBackward(inputs(grads), dOut, inputs(in))
	}, append(G.Nodes{q, read}, b.gate...)...)
}

func (b *blockNodes) Attend(_ *model.Layer, q, k, v *G.Node, column *model.Column[*G.Node]) *G.Node {
	var logit, read *G.Node
	if column != nil {
		logit, read = column.Logit, column.Read
	}
	at := places(q, k, v, b.score, logit, read)
	tokens := func(in [][]float32) model.NewTokens {
		return model.NewTokens{Q: in[0], K: in[1], V: in[2], Logit: at.of(in, 4), Read: at.of(in, 5), Rows: b.shape.tokens}
	}
	var lse []float32 // of the last forward pass
	return b.apply("attend", shapeOf(q), func(out []float32, in [][]float32) {
		lse = b.frame.borrow(b.shape.tokens * b.dims().Heads)
		b.frame.run.attention.Forward(out, lse, tokens(in))
		if column != nil {
			b.observeGate(at.of(in, 4), lse)
		}
	}, func(grads [][]float32, dOut, out []float32, in [][]float32) {
		g := model.AttentionGrads{Q: grads[0], K: grads[1], V: grads[2], Score: at.of(grads, 3), Logit: at.of(grads, 4), Read: at.of(grads, 5)}
		b.frame.run.attention.Backward(g, dOut, out, lse, tokens(in))
	}, q, k, v, b.score, logit, read)
}

func (b *blockNodes) Mix(_ *model.Layer, logit, read, local *G.Node) *G.Node {
	gate, rows := model.GateOp{Gate: b.model.Spec.Gate, Dims: b.dims()}, b.shape.tokens
	return b.apply("mix", shapeOf(local), func(out []float32, in [][]float32) {
		gate.Mix(out, in[0], in[1], in[2], rows)
		b.observeGate(in[0], nil)
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		gate.MixBackward(grads[0], grads[1], grads[2], dOut, in[0], in[1], in[2], rows)
	}, logit, read, local)
}

func shapeOf(n *G.Node) tensor.Shape {
	if n == nil { // after an error, which compile reports
		return nil
	}
	return n.Shape().Clone()
}

// layout gives, for each possible input of an op, its place among those that
// are there, or -1.
type layout []int

func places(nodes ...*G.Node) layout {
	l, next := make(layout, len(nodes)), 0
	for i, n := range nodes {
		l[i] = -1
		if n != nil {
			l[i] = next
			next++
		}
	}
	return l
}

func (l layout) of(x [][]float32, i int) []float32 {
	if l[i] < 0 {
		return nil
	}
	return x[l[i]]
}

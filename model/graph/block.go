package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/model"
	"eisft/model/kernels"
)

// blockNodes is the backend that turns the block's description into nodes. The
// layer it is given stands for all of its form: ops find the weights of the layer of
// the current run by their role.
type blockNodes struct {
	*builder
	score, memory *G.Node
}

// newBlockNodes adds the state as inputs: the slots' scores [N,K] and the memory
// [K,F,d+1], as far as the key has them.
func newBlockNodes(b *builder) *blockNodes {
	n, d := &blockNodes{builder: b}, b.dims()
	if b.key.scores > 0 {
		n.score = b.input("score", b.key.scores, d.KVHeads)
	}
	if b.key.memory {
		n.memory = b.input("memory", d.KVHeads, b.spec().FeatureSize(d.HeadDim), d.HeadDim+1)
	}
	return n
}

// buildBlock is the program of one layer: x [T,D] and the state's inputs to the
// layer's output [T,D].
func buildBlock(b *builder) *G.Node {
	x := b.input("x", b.key.rows, b.dims().Hidden)
	return model.Forward(b.rounded(newBlockNodes(b)), b.spec(), b.layer, x)
}

func (b *blockNodes) Norm(n *model.Norm, x *G.Node) *G.Node {
	role := b.layer.NormRoleOf(n)
	if role == "" {
		b.fail(fmt.Errorf("layer %d: the block uses a norm that Layer.Norms does not list", b.layer.Index))
	}
	return b.norm(func() *model.Norm { return b.frame.run.layer.Norm(role) }, x)
}

// norm is a frozen norm; which one is asked at run time.
func (b *builder) norm(n func() *model.Norm, x *G.Node) *G.Node {
	return b.apply("norm", shapeOf(x), func(out []float32, in [][]float32) {
		n().Apply(out, in[0])
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		n().Backward(grads[0], dOut, in[0])
	}, x)
}

func (b *blockNodes) Linear(l *model.Linear, x *G.Node) *G.Node {
	role := b.layer.RoleOf(l)
	if role == "" {
		b.fail(fmt.Errorf("layer %d: the block uses a map that Layer.Maps does not list", b.layer.Index))
	}
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

// Copy is x itself: nothing changes a node's values.
func (b *blockNodes) Copy(x *G.Node) *G.Node { return x }

func (b *blockNodes) Residual(_ *model.Layer, x, y *G.Node) *G.Node {
	return b.apply("add", shapeOf(x), func(out []float32, in [][]float32) {
		copy(out, in[1])
		b.frame.run.layer.Scaled(out)
		kernels.Add(out, in[0])
	}, func(grads [][]float32, dOut, _ []float32, _ [][]float32) {
		copy(grads[0], dOut)
		copy(grads[1], dOut)
		b.frame.run.layer.Scaled(grads[1])
	}, x, y)
}

// Remember does nothing: the state is written by the recorded forward pass,
// and stored keys, values and inputs are constants for differentiation.
func (b *blockNodes) Remember(*model.Layer, *G.Node, *G.Node, *G.Node) {}

func (b *blockNodes) MemoryInUse() bool { return b.key.memory }

func (b *blockNodes) ReadMemory(_ *model.Layer, q *G.Node) *G.Node {
	mem, d, rows := model.Memory{Spec: b.spec(), Dims: b.dims()}, b.dims(), b.key.rows
	featureQ := b.param(func(p *model.LayerParams) *model.Param { return p.FeatureQ })
	readMap := b.param(func(p *model.LayerParams) *model.Param { return p.ReadMap })
	at := places(q, b.memory, featureQ, readMap)
	return b.apply("read_memory", tensor.Shape{rows, d.Heads * (d.HeadDim + 1)}, func(out []float32, in [][]float32) {
		mem.Read(out, in[0], in[1], at.of(in, 2), at.of(in, 3), rows)
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		g := model.ReadGrads{Q: grads[0], Memory: grads[1], FeatureQ: at.of(grads, 2), ReadMap: at.of(grads, 3)}
		mem.ReadBackward(g, dOut, in[0], in[1], at.of(in, 2), at.of(in, 3), rows)
	}, q, b.memory, featureQ, readMap)
}

func (b *blockNodes) GateLogit(_ *model.Layer, q, read *G.Node) *G.Node {
	gate := model.GateOp{Gate: b.spec().Gate, Dims: b.dims()}
	nodes := G.Nodes{q, read}
	for i := range b.params.Gate {
		nodes = append(nodes, b.param(func(p *model.LayerParams) *model.Param {
			if i < len(p.Gate) {
				return p.Gate[i]
			}
			return nil
		}))
	}
	inputs := func(x [][]float32) model.GateInputs { return model.GateInputs{Q: x[0], Read: x[1], Params: x[2:]} }
	return b.apply("gate_logit", tensor.Shape{b.key.rows, gate.Width()}, func(out []float32, in [][]float32) {
		gate.Logit(out, inputs(in))
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		gate.LogitBackward(inputs(grads), dOut, inputs(in))
	}, nodes...)
}

func (b *blockNodes) Attend(_ *model.Layer, q, k, v *G.Node, column *model.Column[*G.Node]) *G.Node {
	var logit, read *G.Node
	if column != nil {
		logit, read = column.Logit, column.Read
	}
	at := places(q, k, v, b.score, logit, read)
	tokens := func(in [][]float32) model.NewTokens {
		return model.NewTokens{Q: in[0], K: in[1], V: in[2], Logit: at.of(in, 4), Read: at.of(in, 5), Rows: b.key.rows}
	}
	var lse []float32 // of the last forward pass
	n := b.apply("attend", shapeOf(q), func(out []float32, in [][]float32) {
		lse = b.frame.borrow(b.key.rows * b.dims().Heads)
		b.frame.run.attention.Forward(out, lse, tokens(in))
		if column != nil {
			b.observeGate(at.of(in, 4), lse)
		}
	}, func(grads [][]float32, dOut, out []float32, in [][]float32) {
		g := model.AttentionGrads{Q: grads[0], K: grads[1], V: grads[2], Score: at.of(grads, 3), Logit: at.of(grads, 4), Read: at.of(grads, 5)}
		b.frame.run.attention.Backward(g, dOut, out, lse, tokens(in))
	}, q, k, v, b.score, logit, read)
	b.recalls(n, func(in [][]float32) {
		lse = b.frame.run.activations.logSums
		if column != nil {
			b.observeGate(at.of(in, 4), lse)
		}
	})
	return n
}

func (b *blockNodes) Mix(_ *model.Layer, logit, read, local *G.Node) *G.Node {
	gate, rows := model.GateOp{Gate: b.spec().Gate, Dims: b.dims()}, b.key.rows
	n := b.apply("mix", shapeOf(local), func(out []float32, in [][]float32) {
		gate.Mix(out, in[0], in[1], in[2], rows)
		b.observeGate(in[0], nil)
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		gate.MixBackward(grads[0], grads[1], grads[2], dOut, in[0], in[1], in[2], rows)
	}, logit, read, local)
	b.recalls(n, func(in [][]float32) { b.observeGate(in[0], nil) })
	return n
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

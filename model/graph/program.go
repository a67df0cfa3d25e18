package graph

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/model"
)

// run is what one run of a program works on beside its inputs.
type run struct {
	layer     *model.Layer      // frozen weights
	attention model.Attention   // stored keys and values
	written   model.Written     // tokens that enter the memory
	targets   []int32           // for the loss: the token each row predicts
	weights   []float32         // each row's weight in the loss
	wanted    []float32         // for attention transfer: the output to come near to
	stats     *model.LayerStats // of a block: receives what its gate does; nil: not wanted
}

// program is a compiled graph with its gradients. Its inputs are the graph's
// inputs in order, then the gradient of each result; its outputs are the
// results, then the gradient of each input that has one.
type program struct {
	vm      G.VM
	frame   *frame
	inputs  G.Nodes
	outputs G.Nodes
}

// builder collects the nodes of a program. Its first error sticks.
type builder struct {
	g     *G.ExprGraph
	frame *frame
	ops   int
	err   error
	in    G.Nodes
	wrt   G.Nodes
	// moving are the nodes that depend on wrt; the others need no gradient.
	moving map[*G.Node]bool
}

func newBuilder() *builder {
	return &builder{g: G.NewGraph(), frame: &frame{}, moving: map[*G.Node]bool{}}
}

// input adds an input; one that is not constant gets a gradient.
func (b *builder) input(name string, constant bool, shape ...int) *G.Node {
	n := G.NewTensor(b.g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name))
	b.in = append(b.in, n)
	if !constant {
		b.wrt = append(b.wrt, n)
		b.moving[n] = true
	}
	return n
}

// param adds a trained parameter as an input, or nil of nil.
func (b *builder) param(name string, p *model.Param) *G.Node {
	if p == nil {
		return nil
	}
	return b.input(name, false, p.Shape...)
}

// apply adds a step. Nil inputs are left out.
func (b *builder) apply(kind string, output tensor.Shape, forward func(out []float32, in [][]float32), backward func(grads [][]float32, dOut, out []float32, in [][]float32), inputs ...*G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	b.ops++
	o := &op{name: fmt.Sprintf("%s.%d", kind, b.ops), frame: b.frame, output: output, forward: forward, backward: backward}
	var nodes G.Nodes
	for _, n := range inputs {
		if n != nil {
			nodes = append(nodes, n)
			o.inputs = append(o.inputs, n.Shape())
			o.constant = append(o.constant, !b.moving[n])
		}
	}
	n, err := G.ApplyOp(o, nodes...)
	b.err = err
	b.moving[n] = slices.Contains(o.constant, false)
	return n
}

// compile differentiates the results and compiles everything.
func (b *builder) compile(results ...*G.Node) (*program, error) {
	if b.err != nil {
		return nil, b.err
	}
	var up G.Nodes
	for i, r := range results {
		up = append(up, G.NewTensor(b.g, tensor.Float32, r.Dims(), G.WithShape(r.Shape()...), G.WithName(fmt.Sprintf("upstream.%d", i))))
	}
	grads, err := G.Backpropagate(results, up, b.wrt)
	if err != nil {
		return nil, fmt.Errorf("differentiate: %w", err)
	}
	p := &program{frame: b.frame, inputs: append(b.in, up...), outputs: append(append(G.Nodes{}, results...), grads...)}
	prog, registers, err := G.CompileFunction(b.g, p.inputs, p.outputs)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	p.vm = G.NewTapeMachine(b.g, G.WithPrecompiled(prog, registers))
	return p, nil
}

// do runs the program. use reads the outputs, which are valid until it returns.
func (p *program) do(r run, inputs [][]float32, use func(outputs [][]float32)) error {
	if len(inputs) != len(p.inputs) {
		return fmt.Errorf("program takes %d inputs, got %d", len(p.inputs), len(inputs))
	}
	for i, n := range p.inputs {
		if want := n.Shape().TotalSize(); len(inputs[i]) != want {
			return fmt.Errorf("input %s has %d values; the program was built for %d", n.Name(), len(inputs[i]), want)
		}
		if err := G.Let(n, dense(inputs[i], n.Shape())); err != nil {
			return fmt.Errorf("input %s: %w", n.Name(), err)
		}
	}
	p.frame.run = r
	defer func() {
		p.vm.Reset()
		p.frame.release()
		p.frame.run = run{}
	}()
	if err := p.vm.RunAll(); err != nil {
		return err
	}
	out := make([][]float32, len(p.outputs))
	for i, n := range p.outputs {
		out[i] = n.Value().Data().([]float32)
	}
	use(out)
	return nil
}

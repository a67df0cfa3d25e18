package graph

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/model"
	"eisft/model/kernels"
)

// run is one run of a program: its inputs and where their gradients go, and what
// its ops work on beside them.
type run struct {
	inputs        []binding
	params, grads *model.LayerParams // trained parameters, and what their gradients are added to
	upstream      []float32          // gradient of the result
	result        func(y []float32)  // receives the result, which is valid until it returns; nil: not wanted

	layer       *model.Layer      // frozen weights
	attention   model.Attention   // stored keys and values
	written     model.Written     // tokens that enter the memory
	targets     []int32           // for the loss: the token each row predicts
	weights     []float32         // each row's weight in the loss
	wanted      []float32         // for attention transfer: the output to come near to; for distilled logits: the base's
	stats       *model.LayerStats // of a block: receives what its gate does; nil: not wanted
	activations *activations      // what the steps have put out already; nil: they are computed
	round       func(layer *model.Layer, at Site, x []float32)
}

// binding gives the input of a name its values for one run.
type binding struct {
	name   string
	values []float32
	// grad receives the gradient, which is valid until it returns; nil for an input
	// that the program takes as a constant, and only for such.
	grad func(g []float32)
}

// addTo and copyTo are destinations of gradients.
func addTo(dst []float32) func(g []float32)  { return func(g []float32) { kernels.Add(dst, g) } }
func copyTo(dst []float32) func(g []float32) { return func(g []float32) { copy(dst, g) } }

// input is an input of a compiled program.
type input struct {
	name string
	node *G.Node
	grad *G.Node // nil for a constant
	role paramOf // of a trained parameter; nil for what each run binds by name
}

// paramOf finds the parameter with a role in any layer; nil where a layer has none.
type paramOf func(*model.LayerParams) *model.Param

// program is a compiled graph with its gradients.
type program struct {
	vm               G.VM
	frame            *frame
	inputs           []input
	bound            []binding // of the run that goes on, in the order of inputs
	result, upstream *G.Node
	valued           bool // the result is computed
}

// builder collects the nodes of a program. Its first error sticks.
type builder struct {
	model *model.Model
	key   key
	// Of a layer with the key's form: what is told apart by its role in a layer is
	// found in these first.
	layer  *model.Layer
	params *model.LayerParams

	g      *G.ExprGraph
	frame  *frame
	steps  []step
	err    error
	inputs []input
	// moving are the nodes that a gradient is wanted of, or that depend on such.
	moving map[*G.Node]bool
}

func newBuilder(m *model.Model, k key, layer *model.Layer) *builder {
	b := &builder{model: m, key: k, layer: layer, g: G.NewGraph(), frame: &frame{}, moving: map[*G.Node]bool{}}
	if layer != nil {
		b.params = &m.Params.Layers[layer.Index]
	}
	return b
}

func (b *builder) dims() model.Dims { return b.model.Base.Dims }

// spec is the block of the layer.
func (b *builder) spec() model.Spec { return b.model.Spec.At(b.layer.Index) }

// fail keeps the first error.
func (b *builder) fail(err error) { b.err = cmp.Or(b.err, err) }

// constant adds an input that nothing is differentiated by.
func (b *builder) constant(name string, shape ...int) *G.Node {
	n := G.NewTensor(b.g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name))
	b.inputs = append(b.inputs, input{name: name, node: n})
	return n
}

// input adds an input with a gradient.
func (b *builder) input(name string, shape ...int) *G.Node {
	n := b.constant(name, shape...)
	b.moving[n] = true
	return n
}

// param adds a trained parameter as an input, or nil where the layer has none of
// this role. A run takes its values from the layer that it is for.
func (b *builder) param(role paramOf) *G.Node {
	p := role(b.params)
	if p == nil {
		return nil
	}
	n := b.input(roleName(p), p.Shape...)
	b.inputs[len(b.inputs)-1].role = role
	return n
}

// roleName is a parameter's name without its layer: "gate.bias".
func roleName(p *model.Param) string {
	_, name, _ := strings.Cut(strings.TrimPrefix(p.Name, "layers."), ".")
	return name
}

// apply adds a step. Nil inputs are left out.
func (b *builder) apply(kind string, output tensor.Shape, forward func(out []float32, in [][]float32), backward func(grads [][]float32, dOut, out []float32, in [][]float32), inputs ...*G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	o := &op{name: fmt.Sprintf("%s.%d", kind, len(b.steps)+1), frame: b.frame, output: output, forward: forward, backward: backward}
	var nodes G.Nodes
	for _, n := range inputs {
		if n != nil {
			nodes = append(nodes, n)
			o.inputs = append(o.inputs, n.Shape())
			o.constant = append(o.constant, !b.moving[n])
		}
	}
	n, err := G.ApplyOp(o, nodes...)
	b.fail(err)
	b.moving[n] = slices.Contains(o.constant, false)
	b.steps = append(b.steps, step{kind, o, nodes, n})
	return n
}

// compile differentiates the result and compiles everything.
func (b *builder) compile(result *G.Node) (*program, error) {
	if b.err != nil {
		return nil, b.err
	}
	b.findUses(result)
	p := &program{frame: b.frame, inputs: b.inputs, bound: make([]binding, len(b.inputs)), result: result, valued: b.key.valued}
	p.upstream = G.NewTensor(b.g, tensor.Float32, result.Dims(), G.WithShape(result.Shape()...), G.WithName("upstream"))
	var in, wrt G.Nodes
	for _, i := range p.inputs {
		in = append(in, i.node)
		if b.moving[i.node] {
			wrt = append(wrt, i.node)
		}
	}
	grads, err := G.Backpropagate(G.Nodes{result}, G.Nodes{p.upstream}, wrt)
	if err != nil {
		return nil, fmt.Errorf("differentiate: %w", err)
	}
	for j, n := range wrt {
		p.inputs[slices.Index(in, n)].grad = grads[j]
	}
	prog, registers, err := G.CompileFunction(b.g, append(in, p.upstream), append(G.Nodes{result}, grads...))
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	p.vm = G.NewTapeMachine(b.g, G.WithPrecompiled(prog, registers))
	return p, nil
}

// do runs the program and hands out its result and all gradients.
func (p *program) do(r run) error {
	defer clear(p.bound)
	if r.result != nil && (!p.valued || r.activations != nil) {
		return errors.New("the result is wanted, but the program was built for its gradients alone")
	}
	if err := p.bind(r); err != nil {
		return err
	}
	p.frame.run = r
	defer func() {
		p.vm.Reset()
		p.frame.release()
		p.frame.run, p.frame.fault = run{}, nil
	}()
	if err := p.vm.RunAll(); err != nil {
		return cmp.Or(p.frame.fault, err)
	}
	if r.result != nil {
		r.result(floatsOf(p.result))
	}
	for i, in := range p.inputs {
		if in.grad != nil {
			p.bound[i].grad(floatsOf(in.grad))
		}
	}
	return nil
}

func floatsOf(n *G.Node) []float32 { return n.Value().Data().([]float32) }

// bind gives every input its values. What is missing and what the program has no
// input for are errors.
func (p *program) bind(r run) error {
	for i := range p.inputs {
		b, err := p.inputs[i].find(&r)
		if err != nil {
			return err
		}
		if err := let(p.inputs[i].node, b.values); err != nil {
			return err
		}
		p.bound[i] = b
	}
	for j, b := range r.inputs {
		named := func(in input) bool { return in.role == nil && in.name == b.name }
		if !slices.ContainsFunc(p.inputs, named) {
			return fmt.Errorf("input %s is bound, but the program has none of this name; it takes %s", b.name, p.takes())
		}
		if slices.ContainsFunc(r.inputs[:j], func(a binding) bool { return a.name == b.name }) {
			return fmt.Errorf("input %s is bound twice", b.name)
		}
	}
	return let(p.upstream, r.upstream)
}

// find returns what a run binds to the input.
func (in *input) find(r *run) (binding, error) {
	if in.role != nil {
		return in.findParam(r)
	}
	i := slices.IndexFunc(r.inputs, func(b binding) bool { return b.name == in.name })
	if i < 0 {
		return binding{}, fmt.Errorf("input %s is missing", in.name)
	}
	b := r.inputs[i]
	if in.grad != nil && b.grad == nil {
		return b, fmt.Errorf("input %s has a gradient, but the run does not say where it goes", in.name)
	}
	if in.grad == nil && b.grad != nil {
		return b, fmt.Errorf("input %s is a constant of the program, but the run wants a gradient of it", in.name)
	}
	return b, nil
}

// findParam binds a trained parameter to its values and its gradient's place.
func (in *input) findParam(r *run) (binding, error) {
	if r.params == nil || r.grads == nil {
		return binding{}, fmt.Errorf("parameter %s is missing: the run brings no layer's parameters and gradients", in.name)
	}
	p, g := in.role(r.params), in.role(r.grads)
	if p == nil || g == nil {
		return binding{}, fmt.Errorf("parameter %s is missing: the program was built for a layer that has it", in.name)
	}
	return binding{name: in.name, values: p.Data, grad: addTo(g.Data)}, nil
}

// let gives an input its values.
func let(n *G.Node, values []float32) error {
	if want := n.Shape().TotalSize(); len(values) != want {
		return fmt.Errorf("input %s has %d values; the program was built for %d, %v", n.Name(), len(values), want, n.Shape())
	}
	if err := G.Let(n, dense(values, n.Shape())); err != nil {
		return fmt.Errorf("input %s: %w", n.Name(), err)
	}
	return nil
}

// takes lists the inputs that runs bind by name.
func (p *program) takes() string {
	var names []string
	for _, in := range p.inputs {
		if in.role == nil {
			names = append(names, in.name)
		}
	}
	return strings.Join(names, ", ")
}

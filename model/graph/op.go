// Package graph runs the EdgeInfinite block as an autodiff graph in Gorgonia.
//
// A program is the graph of one layer, or of one step of its state, for one [key]:
// numbers of tokens and what the layer is made of. Its ops are fused: each runs a
// kernel of package model on whole tensors and has a backward kernel of its own, so
// that a graph has some dozens of nodes and compiles in milliseconds. The frozen
// weights are not nodes: ops find them by their role in the layer of the current run,
// so one program serves every layer that is made of the same parts, and no gradient of
// a frozen weight is ever computed. Inputs have names; each run says for every one
// where its gradient goes.
package graph

import (
	"fmt"
	"hash"
	"hash/fnv"
	"slices"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/internal/mapped"
	"eisft/internal/scratch"
	"eisft/model/kernels"
)

// op is a fused, differentiable step of a program.
type op struct {
	// name is unique within a program: Gorgonia merges nodes whose ops hash
	// alike.
	name   string
	frame  *frame
	inputs []tensor.Shape
	output tensor.Shape
	// constant marks inputs that need no gradient.
	constant []bool
	use      use
	// forward writes out, which holds arbitrary values.
	forward func(out []float32, in [][]float32)
	// backward adds to grads, which are zero and nil for constant inputs.
	backward func(grads [][]float32, dOut, out []float32, in [][]float32)
}

// frame is what all ops of a program share during one run.
type frame struct {
	run     run
	buffers [][]float32
	fault   error // in a mapped file, under which Gorgonia's own errors hide it
}

func (f *frame) borrow(n int) []float32 {
	b := scratch.Borrow(n)
	f.buffers = append(f.buffers, b)
	return b
}

func (f *frame) release() {
	scratch.Release(f.buffers...)
	f.buffers = f.buffers[:0]
}

func (o *op) Arity() int { return len(o.inputs) }

// Type is T0 → T1 → … → Tn, tensors of the inputs' and the output's ranks.
func (o *op) Type() hm.Type {
	return functionType(append(append([]tensor.Shape{}, o.inputs...), o.output))
}

func functionType(shapes []tensor.Shape) hm.Type {
	types := make([]hm.Type, len(shapes))
	for i, s := range shapes {
		types[i] = G.TensorType{Dims: s.Dims(), Of: hm.TypeVariable('a')}
	}
	return hm.NewFnType(types...)
}

// InferShape implements [G.Op].
func (o *op) InferShape(...G.DimSizer) (tensor.Shape, error) { return o.output.Clone(), nil }

// Do implements [G.Op].
func (o *op) Do(inputs ...G.Value) (_ G.Value, err error) {
	defer mapped.Recover(func(e *mapped.Error) { o.frame.fault, err = e, e }) // Gorgonia runs ops in a goroutine of its own
	defer mapped.Watch()()
	in, err := floats(o.name, o.inputs, inputs)
	if err != nil {
		return nil, err
	}
	return dense(o.value(in), o.output), nil
}

// value is what the step puts out, or room for it where nobody reads it.
func (o *op) value(in [][]float32) []float32 {
	kept := o.frame.run.activations
	if kept != nil {
		if o.use.recall != nil {
			o.use.recall(in)
		}
		if o.use.kept {
			return kept.values[o.use.step]
		}
	}
	out := o.frame.borrow(o.output.TotalSize())
	if kept == nil && o.use.computed {
		o.forward(out, in)
	} else {
		unread(out)
	}
	return out
}

// floats returns the values' floats after checking their sizes.
func floats(name string, shapes []tensor.Shape, values []G.Value) ([][]float32, error) {
	out := make([][]float32, len(values))
	for i, v := range values {
		data, ok := v.Data().([]float32)
		if !ok || len(data) != shapes[i].TotalSize() {
			return nil, fmt.Errorf("%s: input %d has shape %v of %v; the program was built for %v", name, i, v.Shape(), v.Dtype(), shapes[i])
		}
		out[i] = data
	}
	return out, nil
}

func dense(data []float32, shape tensor.Shape) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
}

// ReturnsPtr implements [G.Op].
func (o *op) ReturnsPtr() bool { return true }

// CallsExtern implements [G.Op].
func (o *op) CallsExtern() bool { return false }

// OverwritesInput implements [G.Op].
func (o *op) OverwritesInput() int { return -1 }

// WriteHash implements [G.Op].
func (o *op) WriteHash(h hash.Hash) { fmt.Fprint(h, o.name, o.inputs, o.output) }

// Hashcode implements [G.Op].
func (o *op) Hashcode() uint32 { return hashOf(o) }

func hashOf(o interface{ WriteHash(hash.Hash) }) uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

// String implements [fmt.Stringer].
func (o *op) String() string { return o.name }

// DiffWRT implements [G.SDOp].
func (o *op) DiffWRT(n int) []bool {
	d := make([]bool, n)
	for i := range d {
		d[i] = !o.constant[i]
	}
	return d
}

// SymDiff implements [G.SDOp]: one op computes the gradients of all inputs
// into one vector, of which each input's node is a view.
func (o *op) SymDiff(inputs G.Nodes, output, grad *G.Node) (G.Nodes, error) {
	all, err := G.ApplyOp(&gradients{o}, append(append(G.Nodes{}, inputs...), output, grad)...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.name, err)
	}
	out, at := make(G.Nodes, len(inputs)), 0
	for i, s := range o.inputs {
		if o.constant[i] {
			continue
		}
		v := &view{name: fmt.Sprintf("%s.d%d", o.name, i), size: (&gradients{o}).size(), at: at, shape: s}
		if out[i], err = G.ApplyOp(v, all); err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		at += s.TotalSize()
	}
	return out, nil
}

// gradients is the backward pass of an op: inputs, output and the output's
// gradient to one vector with the gradients of all inputs that need one.
type gradients struct{ of *op }

func (g *gradients) size() int {
	n := 0
	for i, s := range g.of.inputs {
		if !g.of.constant[i] {
			n += s.TotalSize()
		}
	}
	return n
}

func (g *gradients) shapes() []tensor.Shape {
	return append(append([]tensor.Shape{}, g.of.inputs...), g.of.output, g.of.output)
}

func (g *gradients) Arity() int { return len(g.of.inputs) + 2 }

func (g *gradients) Type() hm.Type { return functionType(append(g.shapes(), tensor.Shape{g.size()})) }

func (g *gradients) InferShape(...G.DimSizer) (tensor.Shape, error) {
	return tensor.Shape{g.size()}, nil
}

func (g *gradients) Do(inputs ...G.Value) (_ G.Value, err error) {
	defer mapped.Recover(func(e *mapped.Error) { g.of.frame.fault, err = e, e })
	defer mapped.Watch()()
	in, err := floats(g.String(), g.shapes(), inputs)
	if err != nil {
		return nil, err
	}
	all := g.of.frame.borrow(g.size())
	clear(all)
	grads, rest := make([][]float32, len(g.of.inputs)), all
	for i, s := range g.of.inputs {
		if !g.of.constant[i] {
			grads[i], rest = rest[:s.TotalSize()], rest[s.TotalSize():]
		}
	}
	n := len(g.of.inputs)
	g.of.backwardRows(grads, in[n+1], in[n], in[:n])
	return dense(all, tensor.Shape{g.size()}), nil
}

// backwardRows is backward without the first and last rows that have no gradient, in a step
// that computes each row from that row of its inputs.
func (o *op) backwardRows(grads [][]float32, dOut, out []float32, in [][]float32) {
	if !o.use.rowwise {
		o.backward(grads, dOut, out, in)
		return
	}
	rows := o.output[0]
	lo, hi := rowsWithGradient(dOut, rows)
	if lo == hi {
		return
	}
	cut := func(x []float32) []float32 {
		w := len(x) / rows
		return x[lo*w : hi*w]
	}
	grads, in = slices.Clone(grads), slices.Clone(in)
	for i := range in {
		grads[i], in[i] = cut(grads[i]), cut(in[i])
	}
	o.backward(grads, cut(dOut), cut(out), in)
}

// rowsWithGradient returns the range [lo,hi) of rows outside of which all of x is zero.
func rowsWithGradient(x []float32, rows int) (lo, hi int) {
	w := len(x) / rows
	for lo, hi = 0, rows; lo < hi && kernels.IsZero(x[lo*w:(lo+1)*w]); lo++ {
	}
	for ; lo < hi && kernels.IsZero(x[(hi-1)*w:hi*w]); hi-- {
	}
	return lo, hi
}

func (g *gradients) ReturnsPtr() bool      { return true }
func (g *gradients) CallsExtern() bool     { return false }
func (g *gradients) OverwritesInput() int  { return -1 }
func (g *gradients) WriteHash(h hash.Hash) { fmt.Fprint(h, "grad"); g.of.WriteHash(h) }
func (g *gradients) Hashcode() uint32      { return hashOf(g) }
func (g *gradients) String() string        { return g.of.name + ".backward" }

// view is a part of a vector under its own shape; it copies nothing.
type view struct {
	name     string
	size, at int
	shape    tensor.Shape
}

func (v *view) Arity() int { return 1 }

func (v *view) Type() hm.Type { return functionType([]tensor.Shape{{v.size}, v.shape}) }

func (v *view) InferShape(...G.DimSizer) (tensor.Shape, error) { return v.shape.Clone(), nil }

func (v *view) Do(inputs ...G.Value) (G.Value, error) {
	in, err := floats(v.name, []tensor.Shape{{v.size}}, inputs)
	if err != nil {
		return nil, err
	}
	return dense(in[0][v.at:v.at+v.shape.TotalSize()], v.shape), nil
}

func (v *view) ReturnsPtr() bool      { return true }
func (v *view) CallsExtern() bool     { return false }
func (v *view) OverwritesInput() int  { return -1 }
func (v *view) WriteHash(h hash.Hash) { fmt.Fprint(h, v.name, v.size, v.at, v.shape) }
func (v *view) Hashcode() uint32      { return hashOf(v) }
func (v *view) String() string        { return v.name }

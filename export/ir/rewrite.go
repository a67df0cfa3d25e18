package ir

import "slices"

// What follows is for emitters, which read a graph and write its ops in another form.

// Successor starts a graph that g is translated to. It has g's error if there is one.
func (g *Graph) Successor(name string, o Options) *Graph {
	to := NewGraph(name, o)
	if g.err != nil {
		to.err = g.err
	}
	return to
}

// Inputs lists the graph's inputs in order.
func (g *Graph) Inputs() []*Value { return g.inputs }

// Outputs lists the graph's outputs in order.
func (g *Graph) Outputs() []*Output { return g.outputs }

// Nodes lists the graph's ops, each after those whose results it reads.
func (g *Graph) Nodes() []*Node { return g.nodes }

// Op is the ONNX name of what the node does.
func (n *Node) Op() string { return n.op }

// Inputs lists what the node reads.
func (n *Node) Inputs() []*Value { return n.inputs }

// Outputs lists what the node makes.
func (n *Node) Outputs() []*Value { return n.outputs }

// KeptFloat tells whether the node is unquantized by design.
func (n *Node) KeptFloat() bool { return n.keepFloat }

// Composite is the step that the node is a part of, nil for none.
func (n *Node) Composite() *Composite { return n.composite }

// Encoded is the value's encoding, nil where it has none.
func (v *Value) Encoded() *Encoded { return v.encoded }

// IsConstant tells whether the value is neither an input nor a node's result.
func (v *Value) IsConstant() bool { return v.constant != nil }

// Encoded is the encoding of the output, nil where it is given in float.
func (o *Output) Encoded() *Encoded { return o.encoded }

// In enters the scope that a node of another graph has there, until leave is called.
func (g *Graph) In(n *Node) (leave func()) {
	before := g.scope
	g.scope = n.scope
	return func() { g.scope = before }
}

// Type is the type in this graph of what has the given one in the graph that is copied.
func (g *Graph) Type(d DType) DType {
	if g.half && d == Float32 {
		return Float16
	}
	return d
}

// Copy adds a node of another graph, with inputs of this one, and returns its results
// under their names.
func (g *Graph) Copy(n *Node, inputs []*Value) []*Value {
	if !g.usable("copy of "+n.op, inputs...) {
		return slices.Repeat([]*Value{{graph: g}}, len(n.outputs))
	}
	c := &Node{op: n.op, inputs: inputs, attrs: n.attrs, keepFloat: g.keepFloat, scope: n.scope}
	for _, o := range n.outputs {
		v := g.newValue(g.unique(o.name), g.Type(o.dtype), o.shape)
		v.producer = c
		c.outputs = append(c.outputs, v)
	}
	g.nodes = append(g.nodes, c)
	return c.outputs
}

// CopyConstant adds a constant of another graph.
func (g *Graph) CopyConstant(v *Value) *Value {
	if g.Type(v.dtype) != v.dtype {
		return g.copyHalf(v)
	}
	if s := v.constant.source; s != nil {
		return g.Stored(s.name, v.dtype, v.shape, s.load)
	}
	return g.tensor(v.name, v.constant.Tensor)
}

// copyHalf adds a constant of another graph in float16, under a name of its own: a file of
// weights may hold both.
func (g *Graph) copyHalf(v *Value) *Value {
	make16 := func() (Tensor, error) {
		t := v.constant.Tensor
		if s := v.constant.source; s != nil {
			var err error
			if t, err = s.tensor(v.dtype, v.shape); err != nil {
				return t, err
			}
		}
		return t.Half()
	}
	if s := v.constant.source; s != nil {
		return g.Stored(s.name+HalfSuffix, Float16, v.shape, make16)
	}
	t, err := make16()
	if err != nil {
		return g.fail("constant %s: %w", v.name, err)
	}
	return g.tensor(v.name+HalfSuffix, t)
}

// HalfSuffix ends the names of constants in float16 that are float32 elsewhere.
const HalfSuffix = ".float16"

// CopyCodes adds the codes of an encoded constant of another graph.
func (g *Graph) CopyCodes(v *Value) *Value {
	e := v.encoded
	if e.codes == nil {
		return g.fail("constant %s has the encoding of %s, but no codes", v, e.Point)
	}
	return g.Stored(e.codes.name, CodeType(e.Encoding), v.shape, e.codes.load)
}

// Producer is the node that makes the value, nil of an input or a constant.
func (v *Value) Producer() *Node { return v.producer }

// Int returns a node's attribute that is a whole number, and Ints one that is a list of them.
func (n *Node) Int(name string) int {
	v, _ := n.attr(name).(int)
	return v
}

// Ints is the attribute of that name; see Int.
func (n *Node) Ints(name string) []int {
	v, _ := n.attr(name).([]int)
	return v
}

func (n *Node) attr(name string) any {
	for _, a := range n.attrs {
		if a.name == name {
			return a.value
		}
	}
	return nil
}

// Constant returns the name that a constant of a graph without a weights file has in all
// graphs over the same weights, and what makes it. The name is "" where the tensor is small
// and the graph's own.
func (v *Value) Constant() (name string, load func() (Tensor, error)) {
	c := v.constant
	if s := c.source; s != nil {
		return s.name, func() (Tensor, error) { return s.tensor(v.dtype, v.shape) }
	}
	if len(c.Raw) > inlineBytes {
		name = v.name
	}
	return name, func() (Tensor, error) { return c.Tensor, nil }
}

// Codes returns name and source of an encoded constant's codes; nil where it has none.
func (e *Encoded) Codes(v *Value) (name string, load func() (Tensor, error)) {
	if e.codes == nil {
		return "", nil
	}
	return e.codes.name, func() (Tensor, error) { return e.codes.tensor(CodeType(e.Encoding), v.shape) }
}

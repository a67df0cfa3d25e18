package tflite

import (
	"fmt"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

// node adds the ops of a node.
func (t *translation) node(n *ir.Node) error {
	in, made := n.Inputs(), n.Outputs()[0]
	if e, ok := elementwise[n.Op()]; ok {
		if n.Op() == "Add" && t.joined[in[0].Producer()] {
			return t.fullyConnected(n, in[0].Producer(), in[1])
		}
		return t.compute(n, e.op, e.options, e.fixed)
	}
	switch n.Op() {
	case "MatMul":
		return t.product(n)
	case "Concat":
		return t.concat(n)
	case "Reshape":
		return t.move(n, opReshape, reshapeOptions(made.Shape()), made.Shape())
	case "Transpose":
		return t.move(n, opTranspose, options{}, n.Ints("perm"))
	case "ReduceMean":
		return t.reduce(n, opMean)
	case "ReduceSum":
		return t.reduce(n, opSum)
	case "Slice", "Split":
		return t.cut(n)
	case "Gather":
		table, err := t.floats(in[0])
		if err != nil {
			return err
		}
		return t.emit(opGather, gatherOptions(), []int{table, t.inFloat[in[1]]}, made, nil)
	}
	return fmt.Errorf("LiteRT has no op for it here")
}

// compute adds an op of values that all have one type, which is the result's, too. fixed
// gives the encoding that the kernel wants its result to have, nil where it takes any.
func (t *translation) compute(n *ir.Node, op builtin, o options, fixed func(bits int) encoding.Encoding) error {
	in, made := n.Inputs(), n.Outputs()[0]
	if !t.whole(n, made) || inFloat[op] {
		inputs, err := t.allFloats(in)
		if err != nil {
			return err
		}
		return t.emit(op, o, inputs, made, nil)
	}
	bits, err := t.width(made, in...)
	if err != nil {
		return err
	}
	inputs := make([]int, len(in))
	for i, v := range in {
		if inputs[i], err = t.ofWidth(bits, v); err != nil {
			return err
		}
	}
	have := made.Encoded().Encoding
	if bits == 16 {
		have = widened(have)
	}
	if fixed != nil {
		have = fixed(bits)
	}
	return t.emit(op, o, inputs, made, &have)
}

func (t *translation) allFloats(values []*ir.Value) ([]int, error) {
	list := make([]int, len(values))
	for i, v := range values {
		var err error
		if list[i], err = t.floats(v); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// concat joins values: in codes if the result has some and all of them do, in its encoding.
func (t *translation) concat(n *ir.Node) error {
	made, o := n.Outputs()[0], concatenationOptions(n.Int("axis"))
	if !t.whole(n, made) {
		inputs, err := t.allFloats(n.Inputs())
		if err != nil {
			return err
		}
		return t.emit(opConcatenation, o, inputs, made, nil)
	}
	inputs, e := make([]int, len(n.Inputs())), made.Encoded().Encoding
	for i, v := range n.Inputs() {
		var err error
		if inputs[i], err = t.codesAs(v, v.Name()+"/"+e.Type(), e); err != nil {
			return err
		}
	}
	return t.emit(opConcatenation, o, inputs, made, &e)
}

// move adds an op that moves the elements of its first input, as a list of whole numbers says:
// codes stay the codes they are.
func (t *translation) move(n *ir.Node, op builtin, o options, numbers ...[]int) error {
	return t.moveTo(n.Inputs()[0], n.Outputs()[0], op, o, numbers...)
}

func (t *translation) moveTo(x, made *ir.Value, op builtin, o options, numbers ...[]int) error {
	inputs, have := []int{0}, (*encoding.Encoding)(nil)
	for _, list := range numbers {
		i, err := t.integers(list...)
		if err != nil {
			return err
		}
		inputs = append(inputs, i)
	}
	_, floats := t.inFloat[x]
	c, ok := t.inCodes[x]
	if ok && !(floats && !t.encoded(made)) {
		inputs[0], have = c.tensor, &c.encoding
		return t.emit(op, o, inputs, made, have)
	}
	var err error
	if inputs[0], err = t.floats(x); err != nil {
		return err
	}
	return t.emit(op, o, inputs, made, nil)
}

// reduce adds MEAN or SUM, in float, over the axes along which the result has size 1.
func (t *translation) reduce(n *ir.Node, op builtin) error {
	axes, err := constantInts(n, 1, "axes")
	if err != nil {
		return err
	}
	list, err := t.integers(axes...)
	if err != nil {
		return err
	}
	x, err := t.floats(n.Inputs()[0])
	if err != nil {
		return err
	}
	return t.emit(op, reducerOptions(), []int{x, list}, n.Outputs()[0], nil)
}

// constantInts reads a list that a node has as an input or, in older opsets, as an attribute.
func constantInts(n *ir.Node, input int, attribute string) ([]int, error) {
	if input >= len(n.Inputs()) {
		return n.Ints(attribute), nil
	}
	_, load := n.Inputs()[input].Constant()
	x, err := load()
	if err != nil {
		return nil, err
	}
	wide, err := x.Ints()
	list := make([]int, len(wide))
	for i, v := range wide {
		list[i] = int(v)
	}
	return list, err
}

// cut adds a SLICE for each result of a Slice or Split: MediaTek has no SPLIT_V, which
// uneven pieces would need.
func (t *translation) cut(n *ir.Node) error {
	x, axis, at := n.Inputs()[0], n.Int("axis"), 0
	if n.Op() == "Slice" {
		starts, err := constantInts(n, 1, "starts")
		if err != nil {
			return err
		}
		axes, err := constantInts(n, 3, "axes")
		if err != nil {
			return err
		}
		axis, at = axes[0], starts[0]
	}
	for _, v := range n.Outputs() {
		begin, size := make([]int, len(x.Shape())), v.Shape()
		begin[axis] = at
		at += size[axis]
		if err := t.moveTo(x, v, opSlice, options{}, begin, size); err != nil {
			return err
		}
	}
	return nil
}

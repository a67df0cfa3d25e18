package tflite

import (
	"crypto/sha256"
	"fmt"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

// translation is one graph on its way into a subgraph.
type translation struct {
	*File
	graph   *subgraph
	plain   bool                // no tensors of codes
	inFloat map[*ir.Value]int   // tensors of floats, or of ids
	inCodes map[*ir.Value]coded // tensors of codes
	inWide  map[*ir.Value]int   // those of 8 bits, with the same steps, in 16
	turned  map[*ir.Value]int   // maps as [Out,In]
	uses    map[*ir.Value]int   // as an input of nodes and as an output of the graph
	readers map[*ir.Value][]*ir.Node
	joined  map[*ir.Node]bool // products that the addition of their bias computes
}

// coded is a tensor of codes and what they stand for.
type coded struct {
	tensor   int
	encoding encoding.Encoding
}

// translate makes the subgraph of a signature.
func (f *File) translate(s Signature) (*subgraph, error) {
	if err := s.Graph.Err(); err != nil {
		return nil, err
	}
	t := f.begin(s.Name)
	t.plain = !f.Quantized
	for _, n := range s.Graph.Nodes() {
		for _, v := range n.Inputs() {
			t.uses[v]++
			t.readers[v] = append(t.readers[v], n)
		}
	}
	for _, o := range s.Graph.Outputs() {
		t.uses[o.Value]++
	}
	for _, v := range s.Graph.Inputs() {
		i, err := t.input(v)
		if err != nil {
			return nil, err
		}
		t.graph.inputs = append(t.graph.inputs, port{v.Name(), i})
	}
	if err := t.nodes(s.Graph.Nodes()); err != nil {
		return nil, err
	}
	return t.graph, t.outputs(s.Graph.Outputs())
}

// begin starts a subgraph.
func (f *File) begin(name string) *translation {
	return &translation{
		File: f, graph: &subgraph{name: name},
		inFloat: map[*ir.Value]int{}, inCodes: map[*ir.Value]coded{}, inWide: map[*ir.Value]int{}, turned: map[*ir.Value]int{},
		uses: map[*ir.Value]int{}, readers: map[*ir.Value][]*ir.Node{}, joined: map[*ir.Node]bool{},
	}
}

// nodes adds the ops of nodes, those of a composite together.
func (t *translation) nodes(list []*ir.Node) error {
	for len(list) > 0 {
		n, count := list[0], 1
		var err error
		if c := n.Composite(); c != nil && t.Composites {
			for count < len(list) && list[count].Composite() == c {
				count++
			}
			err = t.composite(c, list[:count])
		} else {
			err = t.node(n)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", n.Op(), n.Outputs()[0].Name(), err)
		}
		list = list[count:]
	}
	return nil
}

// outputs gives each output a tensor, in codes where it has an encoding.
func (t *translation) outputs(list []*ir.Output) error {
	for _, o := range list {
		e := o.Encoded()
		if t.plain {
			e = nil
		}
		i, err := t.output(o, e)
		if err != nil {
			return fmt.Errorf("output %s: %w", o.Name, err)
		}
		t.graph.outputs = append(t.graph.outputs, port{o.Name, i})
	}
	return nil
}

func (t *translation) output(o *ir.Output, e *ir.Encoded) (int, error) {
	if e == nil {
		return t.floats(o.Value)
	}
	if !t.hasCodes(o.Value) {
		from, err := t.floats(o.Value)
		if err != nil {
			return 0, err
		}
		return t.quantize(from, pointed(o.Name, e), o.Value.Shape(), e.Encoding)
	}
	return t.codesAs(o.Value, pointed(o.Name, e), e.Encoding)
}

// encoded tells whether a value is one of codes in this file.
func (t *translation) encoded(v *ir.Value) bool { return !t.plain && v.Encoded() != nil }

// input adds the tensor of an input: floats, codes, or ids.
func (t *translation) input(v *ir.Value) (int, error) {
	if t.encoded(v) {
		i, err := t.addCodes(pointed(v.Name(), v.Encoded()), v.Shape(), v.Encoded().Encoding)
		t.inCodes[v] = coded{i, v.Encoded().Encoding}
		return i, err
	}
	dtype, err := typeOf(v.DType())
	t.inFloat[v] = t.append(tensor{name: v.Name(), dtype: dtype, shape: v.Shape()})
	return t.inFloat[v], err
}

// pointed is the name of a tensor with the codes of a point, which it names, too, for those
// who compare its encoding with the model's ([Tensor.Point]).
func pointed(name string, e *ir.Encoded) string { return name + " [" + e.Point + "]" }

func (t *translation) addFloats(name string, shape []int) int {
	return t.append(tensor{name: name, dtype: typeFloat32, shape: shape})
}

// addCodes adds a tensor of codes. LiteRT's kernels want those of 16 bits without a zero point.
func (t *translation) addCodes(name string, shape []int, e encoding.Encoding) (int, error) {
	dtype, err := typeOf(ir.CodeType(e))
	switch {
	case err != nil:
	case e.Block > 0:
		err = fmt.Errorf("%s has scales for blocks of %d, which LiteRT does not compute with in whole numbers", name, e.Block)
	case e.Bits == 16 && !e.Symmetric():
		err = fmt.Errorf("%s has 16 bits and a zero point, which LiteRT does not compute with; quantize with --target litert", name)
	}
	return t.append(tensor{name: name, dtype: dtype, shape: shape, quant: quantizationOf(e)}), err
}

func quantizationOf(e encoding.Encoding) *quantization {
	q := &quantization{scales: e.Scales, zeros: make([]int64, len(e.Scales)), axis: int32(e.Axis)}
	for i := range q.zeros {
		q.zeros[i] = int64(e.Zero(i))
	}
	if len(e.Scales) == 1 {
		q.axis = 0
	}
	return q
}

func (t *translation) append(x tensor) int {
	t.graph.tensors = append(t.graph.tensors, x)
	return len(t.graph.tensors) - 1
}

func (t *translation) op(op builtin, version int32, inputs, outputs []int, o options) {
	t.graph.operators = append(t.graph.operators, operator{t.code(op, version), inputs, outputs, o})
}

// constant adds a constant of floats.
func (t *translation) constant(v *ir.Value) (int, error) {
	name, load := v.Constant()
	x, err := t.stored(v.Name(), name, v.DType(), v.Shape(), load)
	if err != nil {
		return 0, err
	}
	t.inFloat[v] = t.append(x)
	return t.inFloat[v], nil
}

// stored makes the tensor of a constant. Its bytes are shared under their name; small ones,
// which have none, by their content.
func (t *translation) stored(name, key string, d ir.DType, shape []int, load func() (ir.Tensor, error)) (tensor, error) {
	dtype, err := typeOf(d)
	if err != nil {
		return tensor{}, err
	}
	size := d.Size(shape)
	raw := func() ([]byte, error) {
		x, err := load()
		return x.Raw, err
	}
	if key == "" {
		bytes, err := raw()
		if err != nil {
			return tensor{}, err
		}
		key = fmt.Sprintf("%x", sha256.Sum256(bytes))
	}
	return tensor{name: name, dtype: dtype, shape: shape, buffer: t.buffer(key, size, raw)}, nil
}

// integers adds a constant of int32, as ops want shapes and axes.
func (t *translation) integers(v ...int) (int, error) {
	narrow := make([]int32, len(v))
	for i, x := range v {
		narrow[i] = int32(x)
	}
	x, err := ir.NewTensor([]int{len(v)}, narrow)
	if err != nil {
		return 0, err
	}
	s, err := t.stored(fmt.Sprintf("int32%v", v), "", ir.Int32, x.Shape, func() (ir.Tensor, error) { return x, nil })
	return t.append(s), err
}

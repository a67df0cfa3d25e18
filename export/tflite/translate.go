package tflite

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

// translation is one graph on its way into a subgraph.
type translation struct {
	*file
	graph   *subgraph
	index   map[form]int      // tensors
	uses    map[*ir.Value]int // as an input of nodes and as an output of the graph
	readers map[*ir.Value][]*ir.Node
	joined  map[*ir.Node]bool // products that the addition of their bias computes
}

// form is a value as floats or as codes.
type form struct {
	value *ir.Value
	codes bool
}

// translate makes the subgraph of a signature.
func (f *file) translate(s Signature) (*subgraph, error) {
	if err := s.Graph.Err(); err != nil {
		return nil, err
	}
	t := &translation{file: f, graph: &subgraph{name: s.Name}, index: map[form]int{}, uses: map[*ir.Value]int{}, readers: map[*ir.Value][]*ir.Node{}, joined: map[*ir.Node]bool{}}
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
		i, err := t.declare(v, t.encoded(v))
		if err != nil {
			return nil, err
		}
		t.graph.inputs = append(t.graph.inputs, port{v.Name(), i})
	}
	for _, n := range s.Graph.Nodes() {
		if err := t.node(n); err != nil {
			return nil, fmt.Errorf("%s %s: %w", n.Op(), n.Outputs()[0].Name(), err)
		}
	}
	return t.graph, t.outputs(s.Graph.Outputs())
}

// outputs gives each output a tensor, in codes where it has an encoding.
func (t *translation) outputs(list []*ir.Output) error {
	for _, o := range list {
		e := o.Encoded()
		if !t.Quantized {
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
	has := t.encoded(o.Value)
	switch {
	case e == nil:
		return t.floats(o.Value)
	case has && o.Value.Encoded().Equal(e.Encoding):
		return t.codes(o.Value)
	}
	from, err := t.floats(o.Value)
	if err != nil {
		return 0, err
	}
	to, err := t.add(o.Name, o.Value.Shape(), e)
	if err != nil {
		return 0, err
	}
	t.op(opQuantize, 2, []int{from}, []int{to}, options{})
	return to, nil
}

// encoded tells whether a value is one of codes in this file.
func (t *translation) encoded(v *ir.Value) bool { return t.Quantized && v.Encoded() != nil }

// declare adds a value's tensor, as floats or codes.
func (t *translation) declare(v *ir.Value, codes bool) (int, error) {
	var e *ir.Encoded
	if codes {
		e = v.Encoded()
	}
	if e == nil && v.DType() != ir.Float32 {
		return t.declareAs(v, v.DType())
	}
	i, err := t.add(v.Name(), v.Shape(), e)
	t.index[form{v, codes}] = i
	return i, err
}

func (t *translation) declareAs(v *ir.Value, d ir.DType) (int, error) {
	dtype, err := typeOf(d)
	i := t.append(tensor{name: v.Name(), dtype: dtype, shape: v.Shape()})
	t.index[form{v, false}] = i
	return i, err
}

// add adds a tensor of floats, or of codes.
func (t *translation) add(name string, shape []int, e *ir.Encoded) (int, error) {
	if e == nil {
		return t.append(tensor{name: name, dtype: typeFloat32, shape: shape}), nil
	}
	dtype, err := typeOf(ir.CodeType(e.Encoding))
	if err == nil && e.Block > 0 {
		err = fmt.Errorf("%s has scales for blocks of %d, which LiteRT does not compute with in whole numbers", e.Point, e.Block)
	}
	return t.append(tensor{name: name, dtype: dtype, shape: shape, quant: quantizationOf(e.Encoding)}), err
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

// codes returns the tensor of a value's codes.
func (t *translation) codes(v *ir.Value) (int, error) {
	if i, ok := t.index[form{v, true}]; ok {
		return i, nil
	}
	if v.IsConstant() && t.encoded(v) {
		return t.constantCodes(v)
	}
	return 0, fmt.Errorf("%s has no codes", v)
}

// floats returns the tensor of a value's floats, which DEQUANTIZE makes of codes.
func (t *translation) floats(v *ir.Value) (int, error) {
	if i, ok := t.index[form{v, false}]; ok {
		return i, nil
	}
	if v.IsConstant() && !t.encoded(v) {
		return t.constant(v)
	}
	from, err := t.codes(v)
	if err != nil {
		return 0, err
	}
	to, err := t.add(v.Name()+"/float", v.Shape(), nil)
	if err != nil {
		return 0, err
	}
	version := int32(2)
	if t.graph.tensors[from].dtype == typeInt16 {
		version = 3
	}
	t.op(opDequantize, version, []int{from}, []int{to}, options{})
	t.index[form{v, false}] = to
	return to, nil
}

// constant adds a constant of floats.
func (t *translation) constant(v *ir.Value) (int, error) {
	name, load := v.Constant()
	x, err := t.stored(v.Name(), name, v.DType(), v.Shape(), load)
	if err != nil {
		return 0, err
	}
	t.index[form{v, false}] = t.append(x)
	return t.index[form{v, false}], nil
}

// constantCodes adds the codes of an encoded constant as they lie in the graph.
func (t *translation) constantCodes(v *ir.Value) (int, error) {
	e := v.Encoded()
	name, load := e.Codes(v)
	if load == nil {
		return 0, fmt.Errorf("constant %s has an encoding but no codes", v)
	}
	x, err := t.stored(v.Name(), name, ir.CodeType(e.Encoding), v.Shape(), load)
	x.quant = quantizationOf(e.Encoding)
	t.index[form{v, true}] = t.append(x)
	return t.index[form{v, true}], err
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

// whole tells whether a node computes in whole numbers: nothing keeps it in float, and all
// that it reads and makes has codes.
func (t *translation) whole(n *ir.Node, made *ir.Value) bool {
	if n.KeptFloat() || !t.encoded(made) {
		return false
	}
	return !slices.ContainsFunc(n.Inputs(), func(v *ir.Value) bool {
		return v.DType() == ir.Float32 && !t.encoded(v) && v.Producer() != nil
	})
}

// read returns the tensors of a node's inputs.
func (t *translation) read(whole bool, values ...*ir.Value) ([]int, error) {
	list := make([]int, len(values))
	for i, v := range values {
		var err error
		if list[i], err = t.operand(whole, v); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (t *translation) operand(whole bool, v *ir.Value) (int, error) {
	if !whole {
		return t.floats(v)
	}
	if v.IsConstant() && !t.encoded(v) {
		return t.quantizedConstant(v)
	}
	return t.codes(v)
}

// quantizedConstant gives a constant without an encoding the one that it needs in an op of
// whole numbers: 16 bits, symmetric, for what is usually a number or a norm's weights.
func (t *translation) quantizedConstant(v *ir.Value) (int, error) {
	if i, ok := t.index[form{v, true}]; ok {
		return i, nil
	}
	name, load := v.Constant()
	x, err := load()
	if err != nil {
		return 0, err
	}
	numbers, err := x.Floats()
	if err != nil {
		return 0, err
	}
	lo, hi := slices.Min(numbers), slices.Max(numbers)
	e := encoding.Format{Bits: 16}.Tensor(lo, hi)
	codes := make([]int16, len(numbers))
	encoding.Codes(e, codes, numbers)
	if name != "" {
		name += "/int16"
	}
	s, err := t.stored(v.Name()+"/codes", name, ir.Int16, v.Shape(), func() (ir.Tensor, error) { return ir.NewTensor(v.Shape(), codes) })
	s.quant = quantizationOf(e)
	i := t.append(s)
	t.index[form{v, true}] = i
	return i, err
}

// result declares what a node makes: codes where it computes in whole numbers, and else
// floats, with QUANTIZE behind them where the value has an encoding.
func (t *translation) result(whole bool, v *ir.Value) (int, func(), error) {
	i, err := t.declare(v, whole)
	if err != nil || whole || !t.encoded(v) {
		return i, func() {}, err
	}
	delete(t.index, form{v, false}) // readers see what the codes stand for
	to, err := t.add(v.Name()+"/codes", v.Shape(), v.Encoded())
	t.index[form{v, true}] = to
	return i, func() { t.op(opQuantize, 2, []int{i}, []int{to}, options{}) }, err
}

// emit adds an op with one result.
func (t *translation) emit(n *ir.Node, op builtin, o options, extra []int, values ...*ir.Value) error {
	v := n.Outputs()[0]
	whole := t.whole(n, v)
	inputs, err := t.read(whole, values...)
	if err != nil {
		return err
	}
	out, after, err := t.result(whole, v)
	if err != nil {
		return err
	}
	t.op(op, t.version(op, out), append(inputs, extra...), []int{out}, o)
	after()
	return nil
}

// version is the version of an op's kernel that takes the type of its result.
func (t *translation) version(op builtin, out int) int32 {
	dtype := t.graph.tensors[out].dtype
	wide := map[builtin]int32{ // of 16 bits
		opLogistic: 3, opTanh: 3, opSoftmax: 3, opMean: 3, opConcatenation: 3, opTranspose: 4, opSlice: 4, opBatchMatMul: 3,
	}
	switch {
	case op == opReshape:
		return 1
	case dtype == typeInt16 && wide[op] > 0:
		return wide[op]
	case dtype == typeInt16 || dtype == typeInt8:
		return 2
	}
	return 1
}

package emit

import (
	"slices"

	"eisft/export/ir"
)

// qdq writes encodings as pairs of QuantizeLinear and DequantizeLinear, from which
// converters of phones take them: inputs, outputs and constants with an encoding are
// carried in codes, and what has one in between passes through both. Every Q and DQ names
// its point.
//
// What only moves an encoded tensor gives its result the same encoding: ONNX Runtime's
// levels above basic push a DequantizeLinear through Reshape, Transpose and Slice by
// themselves, and refuse the int8 graph that comes of it. An output with the encoding of
// what it carries is the codes that are there already.
type qdq struct{}

func (qdq) Extension() string { return ".onnx" }

func (qdq) Emit(g *ir.Graph, name string, o ir.Options) Program {
	t := &quantizing{Graph: g.Successor(name, o), encoded: map[*ir.Value]*ir.Encoded{}, codes: map[*ir.Value]*ir.Value{}}
	(&translation{
		Graph: t.Graph, input: t.input, constant: t.constant, result: t.result, node: t.node,
		output: func(o *ir.Output, v *ir.Value) { t.output(o, v) },
	}).run(g)
	return t.Graph
}

// quantizing is a graph that gets Q and DQ.
type quantizing struct {
	*ir.Graph
	encoded map[*ir.Value]*ir.Encoded // of the lowered graph's values, as they are written
	codes   map[*ir.Value]*ir.Value   // of them
}

func (t *quantizing) input(v *ir.Value) *ir.Value {
	e := v.Encoded()
	if e == nil {
		return t.Input(v.Name(), v.DType(), v.Shape()...)
	}
	defer t.Point(e.Point)()
	t.encoded[v] = e
	return t.Dequantize(t.Input(v.Name(), ir.CodeType(e.Encoding), v.Shape()...), e.Encoding)
}

func (t *quantizing) constant(v *ir.Value) *ir.Value {
	e := v.Encoded()
	if e == nil {
		return t.CopyConstant(v)
	}
	defer t.Point(e.Point)()
	return t.Dequantize(t.CopyCodes(v), e.Encoding)
}

func (t *quantizing) node(n *ir.Node) (leave func()) {
	if n.KeptFloat() {
		return t.FloatRegion()
	}
	return func() {}
}

// moving are the ops that only move what they read.
var moving = []string{"Reshape", "Transpose", "Slice"}

func (t *quantizing) result(n *ir.Node, v, copied *ir.Value) *ir.Value {
	e := v.Encoded()
	if e == nil && slices.Contains(moving, n.Op()) {
		if e = t.encoded[n.Inputs()[0]]; e != nil && len(e.Scales) > 1 {
			e = nil // its axis may be another one after the move
		}
	}
	if e == nil {
		return copied
	}
	defer t.Point(e.Point)()
	t.encoded[v], t.codes[v] = e, t.Quantize(copied, e.Encoding)
	return t.Dequantize(t.codes[v], e.Encoding)
}

func (t *quantizing) output(o *ir.Output, v *ir.Value) {
	if e := o.Encoded(); e != nil {
		defer t.Point(e.Point)()
		if has := t.encoded[o.Value]; has != nil && t.codes[o.Value] != nil && has.Point == e.Point && has.Equal(e.Encoding) {
			v = t.codes[o.Value]
		} else {
			v = t.Quantize(v, e.Encoding)
		}
	}
	t.Output(o.Name, v)
}

package emit

import "eisft/export/ir"

// qdq writes encodings as pairs of QuantizeLinear and DequantizeLinear, from which
// converters of phones take them: inputs, outputs and constants with an encoding are
// carried in codes, and what has one in between passes through both. Every Q and DQ names
// its point.
type qdq struct{}

func (qdq) Extension() string { return ".onnx" }

func (qdq) Emit(g *ir.Graph, name string, o ir.Options) Program {
	to := g.Successor(name, o)
	t := &translation{
		Graph: to,
		input: func(v *ir.Value) *ir.Value {
			e := v.Encoded()
			if e == nil {
				return to.Input(v.Name(), v.DType(), v.Shape()...)
			}
			defer to.Point(e.Point)()
			return to.Dequantize(to.Input(v.Name(), ir.CodeType(e.Encoding), v.Shape()...), e.Encoding)
		},
		constant: func(v *ir.Value) *ir.Value {
			e := v.Encoded()
			if e == nil {
				return to.CopyConstant(v)
			}
			defer to.Point(e.Point)()
			return to.Dequantize(to.CopyCodes(v), e.Encoding)
		},
		node: func(n *ir.Node) func() {
			if n.KeptFloat() {
				return to.FloatRegion()
			}
			return func() {}
		},
		result: func(v, copied *ir.Value) *ir.Value {
			e := v.Encoded()
			if e == nil {
				return copied
			}
			defer to.Point(e.Point)()
			return to.QDQ(copied, e.Encoding)
		},
		output: func(o *ir.Output, v *ir.Value) {
			if e := o.Encoded(); e != nil {
				defer to.Point(e.Point)()
				v = to.Quantize(v, e.Encoding)
			}
			to.Output(o.Name, v)
		},
	}
	t.run(g)
	return to
}

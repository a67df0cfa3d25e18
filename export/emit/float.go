package emit

import "eisft/export/ir"

// float writes the graph in float32, or in float16 where the options say so. There is nothing to mark as kept in float.
type float struct{}

func (float) Extension() string { return ".onnx" }

func (float) Emit(g *ir.Graph, name string, o ir.Options) Program {
	to := g.Successor(name, o)
	t := &translation{
		Graph:    to,
		input:    func(v *ir.Value) *ir.Value { return to.Input(v.Name(), to.Type(v.DType()), v.Shape()...) },
		constant: to.CopyConstant,
		node:     func(*ir.Node) func() { return func() {} },
		result:   func(_ *ir.Node, _, copied *ir.Value) *ir.Value { return copied },
		output:   func(o *ir.Output, v *ir.Value) { to.Output(o.Name, v) },
	}
	t.run(g)
	return to
}

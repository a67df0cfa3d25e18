package emit

import "eisft/export/ir"

// float16 writes the graph in float16: weights, constants, inputs and outputs. Encodings
// are left out.
type float16 struct{}

func (float16) Extension() string { return ".onnx" }

func (float16) Emit(g *ir.Graph, name string, o ir.Options) Program {
	o.Half = true
	return float{}.Emit(g, name, o)
}

// Package emit writes lowered graphs in the forms that runtimes take. A lowered graph
// computes in float, and its values have encodings for attributes (ir.Encoded): an emitter
// says what becomes of them. Each emitter is a file here and an entry in Emitters.
package emit

import (
	"eisft/export/ir"
	"eisft/internal/enum"
)

// The names of the emitters.
const (
	Float   = "onnx-float"     // all in float32; encodings are left out
	Float16 = "onnx-float16"   // all in float16; encodings are left out
	QDQ     = "onnx-qdq"       // QuantizeLinear and DequantizeLinear around what is encoded
	Encoded = "onnx+encodings" // all in float32, and the encodings in files of AIMET
)

// Emitter turns a lowered graph into a program.
type Emitter interface {
	// Emit translates the graph under a name. Constants that several programs share go
	// into the options' weights file.
	Emit(g *ir.Graph, name string, o ir.Options) Program
	// Extension is that of the program's file: ".onnx".
	Extension() string
}

// Program is a graph in an emitter's form. The first error of its making comes out of
// OpCounts and WriteFile.
type Program interface {
	// Inputs and Outputs are the types and shapes that a host sees, in the order of the
	// lowered graph's.
	Inputs() []*ir.Value
	Outputs() []*ir.Output
	// OpCounts counts the ops of each kind in the file.
	OpCounts() (map[string]int, error)
	// SetMetadata puts a text under a key into the file.
	SetMetadata(key, value string)
	WriteFile(path string) error
}

// Emitters are all emitters by name.
var Emitters = enum.NewTable[string, Emitter]("emitter").
	With(Float, float{}).
	With(Float16, float16{}).
	With(QDQ, qdq{}).
	With(Encoded, encoded{})

// translation is what an emitter to ONNX does with each part of a graph.
type translation struct {
	*ir.Graph // under construction
	input     func(v *ir.Value) *ir.Value
	constant  func(v *ir.Value) *ir.Value
	result    func(n *ir.Node, v, copied *ir.Value) *ir.Value // of a node
	output    func(o *ir.Output, v *ir.Value)
	node      func(n *ir.Node) (leave func()) // before a node is copied
}

// run translates g.
func (t *translation) run(g *ir.Graph) {
	values := map[*ir.Value]*ir.Value{}
	for _, v := range g.Inputs() {
		values[v] = t.input(v)
	}
	for _, n := range g.Nodes() {
		t.copy(n, values)
	}
	for _, o := range g.Outputs() {
		t.output(o, values[o.Value])
	}
}

// copy translates a node, with the constants that it reads.
func (t *translation) copy(n *ir.Node, values map[*ir.Value]*ir.Value) {
	defer t.In(n)()
	inputs := make([]*ir.Value, len(n.Inputs()))
	for i, v := range n.Inputs() {
		if values[v] == nil && v.IsConstant() {
			values[v] = t.constant(v)
		}
		inputs[i] = values[v]
	}
	leave := t.node(n)
	copied := t.Copy(n, inputs)
	leave()
	for i, v := range n.Outputs() {
		values[v] = t.result(n, v, copied[i])
	}
}

var _ Program = (*ir.Graph)(nil)

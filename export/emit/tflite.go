package emit

import (
	"fmt"
	"maps"

	"eisft/export/ir"
	"eisft/export/tflite"
)

// TFLiteExtension is that of TFLite files.
const TFLiteExtension = ".tflite"

// TFLite is an emitter into one file: every graph is a signature of it, under its name, over
// weights that all of them share.
type TFLite struct {
	file       *tflite.File
	signatures map[string]*signature
}

// NewTFLite starts a file, in whole numbers where values have encodings, or in float32, with or
// without composites.
func NewTFLite(quantized, composites bool) *TFLite {
	o := tflite.Options{Quantized: quantized, Composites: composites, Description: "written by eisft", Metadata: map[string]string{}}
	return &TFLite{tflite.NewFile(o), map[string]*signature{}}
}

// Extension is that of the file.
func (*TFLite) Extension() string { return TFLiteExtension }

// Emit adds a graph as a signature. One of a name that is there already is that one.
func (e *TFLite) Emit(g *ir.Graph, name string, _ ir.Options) Program {
	if s, ok := e.signatures[name]; ok {
		return s
	}
	s := &signature{emitter: e, err: g.Err()}
	if s.err == nil {
		s.ops, s.err = e.file.Add(tflite.Signature{Name: name, Graph: g})
	}
	ports := ir.NewGraph(name, ir.Options{})
	port := func(v *ir.Value, name string, encoded *ir.Encoded) *ir.Value {
		dtype := v.DType()
		if encoded != nil && e.file.Quantized {
			dtype = ir.CodeType(encoded.Encoding)
		}
		return ports.Input(name, dtype, v.Shape()...)
	}
	for _, v := range g.Inputs() {
		s.inputs = append(s.inputs, port(v, v.Name(), v.Encoded()))
	}
	for _, o := range g.Outputs() {
		s.outputs = append(s.outputs, &ir.Output{Name: o.Name, Value: port(o.Value, o.Name, o.Encoded())})
	}
	e.signatures[name] = s
	return s
}

// signature is a graph in the file.
type signature struct {
	emitter *TFLite
	inputs  []*ir.Value
	outputs []*ir.Output
	ops     map[string]int
	err     error
}

func (s *signature) Inputs() []*ir.Value { return s.inputs }

func (s *signature) Outputs() []*ir.Output { return s.outputs }

func (s *signature) OpCounts() (map[string]int, error) { return maps.Clone(s.ops), s.err }

// SetMetadata puts a text into the file, for all signatures.
func (s *signature) SetMetadata(key, value string) { s.emitter.file.Metadata[key] = value }

// WriteFile writes the file with all signatures; it is called for one of them.
func (s *signature) WriteFile(path string) error {
	for name, other := range s.emitter.signatures {
		if other.err != nil {
			return fmt.Errorf("signature %s: %w", name, other.err)
		}
	}
	return s.emitter.file.Write(path)
}

var (
	_ Emitter = (*TFLite)(nil)
	_ Program = (*signature)(nil)
)

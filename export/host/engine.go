package host

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/tflite/litert"
)

// session is a graph that a runtime has loaded: an ONNX file in ONNX Runtime, or a signature
// of a TFLite file in LiteRT.
type session interface {
	// Bind makes tensors for the graph's inputs and outputs, but for the inputs given.
	Bind(given map[string]ort.Tensor) (binding, error)
	Inputs() []ir.Port
	Outputs() []ir.Port
	Close() error
}

// binding is a session with tensors that stay in place from run to run.
type binding interface {
	Tensor(name string) ort.Tensor
	Run() error
	Close() error
}

// closeAll closes all of a list, whatever fails.
func closeAll[C io.Closer](list ...C) error {
	var errs []error
	for _, c := range list {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// open loads a graph, in one part or several.
func (m *Model) open(dir string, g manifest.Graph, alter func(*ir.Model) error, o ort.Options) (session, error) {
	var all parts
	for _, p := range g.Parts {
		s, err := m.openPart(dir, g, p, alter, o)
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all = append(all, s)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// openPart loads a part of a graph in the runtime that its file is for.
func (m *Model) openPart(dir string, g manifest.Graph, part manifest.Part, alter func(*ir.Model) error, o ort.Options) (session, error) {
	path := filepath.Join(dir, part.File)
	if part.Signature == "" {
		s, err := ort.OpenAltered(path, alter, o)
		if err != nil {
			return nil, err
		}
		return onnx{s}, nil
	}
	if alter != nil {
		return nil, fmt.Errorf("%s: a TFLite file is run as it is", part.File)
	}
	file, ok := m.files[part.File]
	if !ok {
		var err error
		if file, err = litert.Open(path); err != nil {
			return nil, err
		}
		if m.files == nil {
			m.files = map[string]*litert.Model{}
		}
		m.files[part.File] = file
	}
	s := &lite{file: file, signature: part.Signature}
	var errIn, errOut error
	s.inputs, errIn = ports(g.InputsOf(part))
	s.outputs, errOut = ports(g.OutputsOf(part))
	return s, errors.Join(errIn, errOut)
}

// onnx is a graph in ONNX Runtime.
type onnx struct{ *ort.Session }

func (s onnx) Bind(given map[string]ort.Tensor) (binding, error) {
	b, err := s.Session.Bind(given)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// lite is a signature in LiteRT, whose file the model closes. Its ports are those of the
// manifest.
type lite struct {
	file            *litert.Model
	signature       string
	inputs, outputs []ir.Port
}

func ports(listed []manifest.Port) ([]ir.Port, error) {
	list := make([]ir.Port, len(listed))
	for i, p := range listed {
		dtype, err := ir.ParseDType(p.DType)
		if err != nil {
			return nil, err
		}
		list[i] = ir.Port{Name: p.Name, DType: dtype}
		for _, size := range p.Shape {
			list[i].Shape = append(list[i].Shape, int64(size))
		}
	}
	return list, nil
}

func (s *lite) Inputs() []ir.Port { return s.inputs }

func (s *lite) Outputs() []ir.Port { return s.outputs }

func (s *lite) Close() error { return nil }

func (s *lite) Bind(given map[string]ort.Tensor) (binding, error) {
	inputs, err := ort.Tensors(s.inputs, given)
	if err != nil {
		return nil, fmt.Errorf("bind signature %s: %w", s.signature, err)
	}
	outputs, err := ort.Tensors(s.outputs, nil)
	if err != nil {
		return nil, fmt.Errorf("bind signature %s: %w", s.signature, err)
	}
	return &liteBinding{s, inputs, outputs}, nil
}

// liteBinding is a signature with its tensors.
type liteBinding struct {
	session         *lite
	inputs, outputs map[string]ort.Tensor
}

func (b *liteBinding) Tensor(name string) ort.Tensor {
	if t, ok := b.outputs[name]; ok {
		return t
	}
	return b.inputs[name]
}

func (b *liteBinding) Run() error {
	return b.session.file.Run(b.session.signature, data(b.inputs), data(b.outputs))
}

func (b *liteBinding) Close() error { return nil }

// data are the numbers of tensors.
func data(tensors map[string]ort.Tensor) map[string]any {
	all := make(map[string]any, len(tensors))
	for name, t := range maps.All(tensors) {
		all[name] = t.Data
	}
	return all
}

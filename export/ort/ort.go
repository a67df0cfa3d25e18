// Package ort runs ONNX files of static shape on ONNX Runtime's CPU provider. The
// runtime is a shared library that is opened at run time; scripts/fetch-onnxruntime.sh
// brings it. A build without cgo compiles, but every call returns an error.
package ort

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"eisft/export/ir"
)

// Level is the amount of graph optimization at load time.
type Level int

// The levels of ONNX Runtime. Basic is the default here, since everything above
// replaces DequantizeLinear(int4)+MatMul by a kernel with int8 activations, unless
// the session entry AccuracyLevel is "1".
const (
	Basic Level = iota
	Disabled
	Extended
	All
)

// levelNames are the levels as ONNX Runtime's documentation calls them, in the order of
// what they do.
var levelNames = []struct {
	level Level
	name  string
}{{Disabled, "disabled"}, {Basic, "basic"}, {Extended, "extended"}, {All, "all"}}

// Levels lists all levels.
func Levels() []Level {
	var list []Level
	for _, l := range levelNames {
		list = append(list, l.level)
	}
	return list
}

// String is the level's name.
func (l Level) String() string {
	for _, known := range levelNames {
		if known.level == l {
			return known.name
		}
	}
	return fmt.Sprintf("level %d", int(l))
}

// AccuracyLevel is the session entry that chooses the precision of fused 4-bit
// products: "1" keeps float32 activations, the runtime's default is int8.
const AccuracyLevel = "session.qdq_matmulnbits_accuracy_level"

// AllowSpinning is the session entry that lets idle threads wait actively, "1" by the
// runtime's default or "0".
const AllowSpinning = "session.intra_op.allow_spinning"

// disablePrepacking is the session entry that leaves weights in the order of the file.
const disablePrepacking = "session.disable_prepacking"

// Options of a session.
type Options struct {
	Level   Level
	Config  map[string]string // session configuration entries
	Threads int               // of one op; 0 leaves the choice to the runtime
	// Lean gives the memory of results back as soon as nothing reads them, in place of an
	// arena for each session, whose pieces grow by powers of two, and reads weights where the
	// file is mapped, in place of a copy for each session in the order of its products.
	Lean bool
}

// Tensor is a graph's input or output. Data is a []float32, []float16.Float16,
// []int8, []uint8, []int16, []uint16, []int32 or []int64 in row-major order.
type Tensor struct {
	Shape []int64
	Data  any
}

// Session is a loaded model. It may run in several goroutines at once.
type Session struct {
	model  *ir.Model
	engine *engine
}

// Open loads an ONNX file whose inputs and outputs have static shapes.
func Open(path string, o Options) (*Session, error) { return OpenAltered(path, nil, o) }

// OpenAltered loads an ONNX file with changes, which it is not written with; nil makes none.
func OpenAltered(path string, alter func(*ir.Model) error, o Options) (*Session, error) {
	model, err := ir.Open(path)
	if err != nil {
		return nil, err
	}
	var raw []byte
	var folder string
	if alter != nil {
		if err := alter(model); err != nil {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		if folder, err = realWeights(model); err != nil {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		if raw, err = proto.Marshal(model.Proto); err != nil {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		if model, err = ir.Parse(path, raw); err != nil {
			return nil, err
		}
	}
	if len(model.Inputs) == 0 || len(model.Outputs) == 0 {
		return nil, fmt.Errorf("open %s: the graph has %d inputs and %d outputs, want at least one of each", path, len(model.Inputs), len(model.Outputs))
	}
	for _, p := range slices.Concat(model.Inputs, model.Outputs) {
		if !p.Static() {
			return nil, fmt.Errorf("open %s: %q has the shape %v: only static shapes can be run", path, p.Name, p.Shape)
		}
	}
	if err := initialise(); err != nil {
		return nil, err
	}
	e, err := newEngine(path, raw, folder, names(model.Inputs), names(model.Outputs), o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Session{model: model, engine: e}, nil
}

// realWeights returns the folder that a model's external data really lies in, behind links,
// and calls the files as they are called there: of a model that is given as bytes, ONNX
// Runtime wants them in one folder.
func realWeights(model *ir.Model) (folder string, err error) {
	if folder, err = filepath.Abs(filepath.Dir(model.Path)); err != nil {
		return "", err
	}
	dir := folder
	for _, t := range model.Proto.GetGraph().GetInitializer() {
		for _, e := range t.GetExternalData() {
			if e.GetKey() != "location" {
				continue
			}
			path := e.GetValue()
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			file, err := filepath.EvalSymlinks(path)
			if err != nil {
				return "", err
			}
			folder, e.Value = filepath.Split(file)
		}
	}
	return folder, nil
}

// Inputs describes what Run needs, in the file's order.
func (s *Session) Inputs() []ir.Port { return s.model.Inputs }

// Outputs describes what Run returns, in the file's order.
func (s *Session) Outputs() []ir.Port { return s.model.Outputs }

// Metadata is the file's metadata_props.
func (s *Session) Metadata() map[string]string { return s.model.Metadata }

// Close frees the session. Bindings of it must be closed before.
func (s *Session) Close() error { return s.engine.close() }

// Run computes all outputs from all inputs. A loop that runs the same session many
// times is cheaper with Bind.
func (s *Session) Run(inputs map[string]Tensor) (map[string]Tensor, error) {
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		if !slices.ContainsFunc(s.model.Inputs, func(p ir.Port) bool { return p.Name == name }) {
			return nil, fmt.Errorf("run %s: no input is called %q", s.model.Path, name)
		}
	}
	for _, p := range s.model.Inputs {
		if _, ok := inputs[p.Name]; !ok {
			return nil, fmt.Errorf("run %s: input %q is missing", s.model.Path, p.Name)
		}
	}
	b, err := s.Bind(inputs)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if err := b.Run(); err != nil {
		return nil, err
	}
	outputs := map[string]Tensor{}
	for _, p := range s.model.Outputs {
		outputs[p.Name] = b.tensors[p.Name]
	}
	return outputs, nil
}

// Binding is a session with tensors of its own that stay in place from run to run:
// fill the input slices, Run, read the output slices. It belongs to one goroutine.
type Binding struct {
	session *Session
	tensors map[string]Tensor
	in, out []value
}

// Bind takes the given input tensors as they are, so that several bindings may share
// them, and allocates the others once, filled with zeros.
func (s *Session) Bind(given map[string]Tensor) (*Binding, error) {
	b := &Binding{session: s, tensors: map[string]Tensor{}}
	var err error
	if b.in, err = b.values(s.model.Inputs, given); err == nil {
		b.out, err = b.values(s.model.Outputs, nil)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bind %s: %w", s.model.Path, err), b.Close())
	}
	return b, nil
}

// values makes the runtime's views of the ports' tensors. It returns what it made
// also beside an error, for Close to free.
func (b *Binding) values(ports []ir.Port, given map[string]Tensor) ([]value, error) {
	var vs []value
	tensors, err := Tensors(ports, given)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		t := tensors[p.Name]
		v, err := newValue(t)
		if err != nil {
			return vs, fmt.Errorf("%q: %w", p.Name, err)
		}
		b.tensors[p.Name] = t
		vs = append(vs, v)
	}
	return vs, nil
}

// Tensor is the input or output of that name; its Data is shared with the runtime.
// The zero Tensor says that there is none.
func (b *Binding) Tensor(name string) Tensor { return b.tensors[name] }

// Run computes the outputs from what the inputs hold now.
func (b *Binding) Run() error {
	if err := b.session.engine.run(b.in, b.out); err != nil {
		return fmt.Errorf("run %s: %w", b.session.model.Path, err)
	}
	return nil
}

// Close frees the binding; its tensors' Data remain valid.
func (b *Binding) Close() error {
	var errs []error
	for _, v := range slices.Concat(b.in, b.out) {
		errs = append(errs, v.Destroy())
	}
	b.in, b.out = nil, nil
	return errors.Join(errs...)
}

func names(ports []ir.Port) []string {
	out := make([]string, len(ports))
	for i, p := range ports {
		out[i] = p.Name
	}
	return out
}

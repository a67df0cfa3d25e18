package emit

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"eisft/export/aimet"
	"eisft/export/ir"
	"eisft/internal/atomicfile"
)

// encoded writes the graph in float32, of opset 17, and its encodings as files of AIMET
// beside it, the route of Qualcomm's AI Hub: NAME.encodings is of version 1.0.0,
// NAME-2.0.0.encodings of that.
type encoded struct{}

func (encoded) Extension() string { return ".onnx" }

// encodedProgram is a float graph with the encodings of its tensors.
type encodedProgram struct {
	*ir.Graph
	tensors []*tensor
}

type tensor struct {
	value *ir.Value // of the graph that is written
	e     *ir.Encoded
	param bool
}

func (encoded) Emit(g *ir.Graph, name string, o ir.Options) Program {
	p := &encodedProgram{Graph: g.Successor(name, o)}
	to := p.Graph
	keep := func(v *ir.Value, e *ir.Encoded, param bool) *ir.Value {
		if e != nil {
			p.tensors = append(p.tensors, &tensor{v, e, param})
		}
		return v
	}
	t := &translation{
		Graph: to,
		input: func(v *ir.Value) *ir.Value {
			return keep(to.Input(v.Name(), v.DType(), v.Shape()...), v.Encoded(), false)
		},
		constant: func(v *ir.Value) *ir.Value { return keep(to.CopyConstant(v), v.Encoded(), true) },
		node:     func(*ir.Node) func() { return func() {} },
		result:   func(_ *ir.Node, v, copied *ir.Value) *ir.Value { return keep(copied, v.Encoded(), false) },
		output: func(o *ir.Output, v *ir.Value) {
			to.Output(o.Name, v)
			if o.Value.Encoded() == nil {
				keep(v, o.Encoded(), false)
			}
		},
	}
	t.run(g)
	return p
}

// EncodingFiles are the names of the files of encodings beside a graph's.
func EncodingFiles(graph string) []string {
	base := strings.TrimSuffix(graph, ".onnx")
	return []string{base + ".encodings", base + "-2.0.0.encodings"}
}

// WriteFile writes the graph, which says in its metadata what point each encoded tensor is,
// and its encodings beside it.
func (p *encodedProgram) WriteFile(path string) error {
	var list []aimet.Tensor
	points := map[string]string{}
	for _, t := range p.tensors {
		if name, ok := p.InFile(t.value); ok {
			list = append(list, aimet.Tensor{Name: name, Shape: t.value.Shape(), Param: t.param, Encoding: t.e.Encoding})
			points[name] = t.e.Point
		}
	}
	text, err := json.Marshal(points)
	if err != nil {
		return err
	}
	p.SetMetadata(ir.PointsKey, string(text))
	if err := p.Graph.WriteFile(path); err != nil {
		return err
	}
	names := EncodingFiles(filepath.Base(path))
	for i, version := range []func([]aimet.Tensor) ([]byte, error){aimet.Version1, aimet.Version2} {
		raw, err := version(list)
		if err == nil {
			err = atomicfile.WriteFile(filepath.Join(filepath.Dir(path), names[i]), append(raw, '\n'))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var _ Program = (*encodedProgram)(nil)

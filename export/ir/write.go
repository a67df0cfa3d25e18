package ir

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"eisft/internal/atomicfile"
	"eisft/export/onnxpb"
)

// PrecisionKey is the node metadata that KeepFloat sets to PrecisionFloat.
const (
	PrecisionKey   = "eisft.precision"
	PrecisionFloat = "float"
)

// irVersions are the IR versions that the two opsets were released with.
var irVersions = map[int]int64{17: 8, 21: 10}

// WriteFile writes the graph to path as one ONNX file. Nodes that no output needs
// are left out. The same graph always gives the same bytes.
func (g *Graph) WriteFile(path string) error {
	if g.err == nil && g.weights != nil && filepath.Dir(path) != filepath.Dir(g.weights.path) {
		return fmt.Errorf("write %s: the weights file %s must be in the same folder", path, g.weights.path)
	}
	model, err := g.Model()
	if err != nil {
		return err
	}
	if size := proto.Size(model); size > math.MaxInt32 {
		return fmt.Errorf("write %s: %d bytes, above the 2 GiB that a protobuf file can hold; give the graph a weights file", path, size)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(model)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.WriteFile(path, raw)
}

// Model returns the graph as ONNX's message, or the first error of its construction.
func (g *Graph) Model() (*onnxpb.ModelProto, error) {
	if g.err == nil && len(g.outputs) == 0 {
		g.fail("there is no output")
	}
	if g.err != nil {
		return nil, g.err
	}
	nodes, used := g.live()
	pb := &onnxpb.GraphProto{Name: g.name}
	for _, v := range g.inputs {
		pb.Input = append(pb.Input, v.info())
	}
	for _, v := range g.constants {
		if used[v] {
			pb.Initializer = append(pb.Initializer, g.initializer(v))
		}
	}
	for _, n := range nodes {
		pb.Node = append(pb.Node, n.proto(g.opset))
		for _, v := range n.outputs {
			if !slices.Contains(g.outputs, v) {
				pb.ValueInfo = append(pb.ValueInfo, v.info())
			}
		}
	}
	for _, v := range g.outputs {
		pb.Output = append(pb.Output, v.info())
	}
	model := &onnxpb.ModelProto{
		IrVersion:    irVersions[g.opset],
		ProducerName: "eisft",
		OpsetImport:  []*onnxpb.OperatorSetIdProto{{Version: int64(g.opset)}},
		Graph:        pb,
	}
	for _, key := range slices.Sorted(maps.Keys(g.metadata)) {
		model.MetadataProps = append(model.MetadataProps, entry(key, g.metadata[key]))
	}
	return model, nil
}

// live returns the nodes that the outputs need, in order, and the values they use.
func (g *Graph) live() ([]*node, map[*Value]bool) {
	used := map[*Value]bool{}
	for _, v := range g.outputs {
		used[v] = true
	}
	nodes := []*node{}
	for _, n := range slices.Backward(g.nodes) {
		if !slices.ContainsFunc(n.outputs, func(v *Value) bool { return used[v] }) {
			continue
		}
		nodes = append(nodes, n)
		for _, v := range n.inputs {
			used[v] = true
		}
	}
	slices.Reverse(nodes)
	return nodes, used
}

func (g *Graph) initializer(v *Value) *onnxpb.TensorProto {
	t := &onnxpb.TensorProto{Name: v.name, DataType: int32(v.dtype), Dims: wide(v.shape)}
	if v.constant.stored == "" {
		t.RawData = v.constant.Raw
		return t
	}
	at := g.weights.byName[v.constant.stored]
	t.DataLocation = onnxpb.TensorProto_EXTERNAL
	t.ExternalData = []*onnxpb.StringStringEntryProto{
		entry("location", g.weights.location()),
		entry("offset", strconv.FormatInt(at.offset, 10)),
		entry("length", strconv.FormatInt(at.length, 10)),
	}
	return t
}

func (n *node) proto(opset int) *onnxpb.NodeProto {
	pb := &onnxpb.NodeProto{Name: n.outputs[0].name, OpType: n.op}
	for _, v := range n.inputs {
		pb.Input = append(pb.Input, v.name)
	}
	for _, v := range n.outputs {
		pb.Output = append(pb.Output, v.name)
	}
	for _, a := range n.attrs {
		attribute := &onnxpb.AttributeProto{Name: a.name}
		switch value := a.value.(type) {
		case int:
			attribute.Type, attribute.I = onnxpb.AttributeProto_INT, int64(value)
		case []int:
			attribute.Type, attribute.Ints = onnxpb.AttributeProto_INTS, wide(value)
		}
		pb.Attribute = append(pb.Attribute, attribute)
	}
	if n.keepFloat && opset >= 21 {
		pb.MetadataProps = []*onnxpb.StringStringEntryProto{entry(PrecisionKey, PrecisionFloat)}
	}
	return pb
}

func (v *Value) info() *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, size := range v.shape {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{
			Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(size)},
		})
	}
	tensor := &onnxpb.TypeProto_Tensor{ElemType: int32(v.dtype), Shape: shape}
	return &onnxpb.ValueInfoProto{
		Name: v.name,
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tensor}},
	}
}

func entry(key, value string) *onnxpb.StringStringEntryProto {
	return &onnxpb.StringStringEntryProto{Key: key, Value: value}
}

func wide(v []int) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}

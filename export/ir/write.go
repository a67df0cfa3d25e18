package ir

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"eisft/export/onnxpb"
	"eisft/internal/atomicfile"
)

// The keys of node metadata: FloatRegion sets PrecisionKey to PrecisionFloat, Point sets
// PointKey to the name of what a Q or DQ node encodes.
const (
	PrecisionKey   = "eisft.precision"
	PrecisionFloat = "float"
	PointKey       = "eisft.point"
)

// PointsKey is the metadata of a graph with encodings in files beside it: the names of its
// encoded tensors, and the point that each is, as JSON.
const PointsKey = "eisft.points"

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
		pb.Input = append(pb.Input, v.info(v.name))
	}
	for _, v := range g.constants {
		if used[v] {
			t, err := g.initializer(v)
			if err != nil {
				return nil, fmt.Errorf("graph %s: %w", g.name, err)
			}
			pb.Initializer = append(pb.Initializer, t)
		}
	}
	name := g.namer()
	for _, n := range nodes {
		pb.Node = append(pb.Node, n.proto(g.opset, name))
		for _, v := range n.outputs {
			if !g.isOutput(v) {
				pb.ValueInfo = append(pb.ValueInfo, v.info(v.name))
			}
		}
	}
	for _, o := range g.outputs {
		pb.Output = append(pb.Output, o.Value.info(o.Name))
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
func (g *Graph) live() ([]*Node, map[*Value]bool) {
	used := map[*Value]bool{}
	for _, o := range g.outputs {
		used[o.Value] = true
	}
	nodes := []*Node{}
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

// namer returns the names of values in the file: an output's is that of its port.
func (g *Graph) namer() func(*Value) string {
	ports := map[*Value]string{}
	for _, o := range g.outputs {
		ports[o.Value] = o.Name
	}
	return func(v *Value) string {
		if port, ok := ports[v]; ok {
			return port
		}
		return v.name
	}
}

// InFile returns the name that a value has in the file, and whether it is there.
func (g *Graph) InFile(v *Value) (string, bool) {
	_, used := g.live()
	return g.namer()(v), used[v] || v.producer == nil && v.constant == nil
}

func (g *Graph) initializer(v *Value) (*onnxpb.TensorProto, error) {
	t, c := &onnxpb.TensorProto{Name: v.name, DataType: int32(v.dtype), Dims: wide(v.shape)}, v.constant
	if c.source != nil {
		made, err := c.source.tensor(v.dtype, v.shape)
		if err != nil {
			return nil, err
		}
		c.Tensor, c.source = made, nil
	}
	if c.stored == "" {
		t.RawData = c.Raw
		return t, nil
	}
	at := g.weights.at(v.constant.stored)
	t.DataLocation = onnxpb.TensorProto_EXTERNAL
	t.ExternalData = []*onnxpb.StringStringEntryProto{
		entry("location", g.weights.location()),
		entry("offset", strconv.FormatInt(at.offset, 10)),
		entry("length", strconv.FormatInt(at.length, 10)),
	}
	return t, nil
}

func (n *Node) proto(opset int, name func(*Value) string) *onnxpb.NodeProto {
	pb := &onnxpb.NodeProto{Name: name(n.outputs[0]), OpType: n.op}
	for _, v := range n.inputs {
		pb.Input = append(pb.Input, name(v))
	}
	for _, v := range n.outputs {
		pb.Output = append(pb.Output, name(v))
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
		pb.MetadataProps = append(pb.MetadataProps, entry(PrecisionKey, PrecisionFloat))
	}
	if n.point != "" && opset >= 21 {
		pb.MetadataProps = append(pb.MetadataProps, entry(PointKey, n.point))
	}
	return pb
}

func (v *Value) info(name string) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, size := range v.shape {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{
			Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(size)},
		})
	}
	tensor := &onnxpb.TypeProto_Tensor{ElemType: int32(v.dtype), Shape: shape}
	return &onnxpb.ValueInfoProto{
		Name: name,
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

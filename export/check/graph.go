package check

import (
	"fmt"
	"path/filepath"

	"eisft/export/ir"
	"eisft/export/onnxpb"
	"eisft/quant/encoding"
)

// graph is a model prepared for the rules.
type graph struct {
	*ir.Model
	findings  *[]Finding
	rule      RuleName // that is being checked
	nodes     []*onnxpb.NodeProto
	producers map[string]*onnxpb.NodeProto   // by value
	consumers map[string][]*onnxpb.NodeProto // by value
	ports     map[string]ir.Port             // what the file says of each value
	encodings map[*onnxpb.NodeProto]encoding.Encoding
}

func newGraph(m *ir.Model, findings *[]Finding) *graph {
	pb := m.Proto.GetGraph()
	g := &graph{
		Model: m, findings: findings, rule: RuleEncodings, nodes: pb.GetNode(),
		producers: map[string]*onnxpb.NodeProto{}, consumers: map[string][]*onnxpb.NodeProto{},
		ports: map[string]ir.Port{}, encodings: map[*onnxpb.NodeProto]encoding.Encoding{},
	}
	for _, infos := range [][]*onnxpb.ValueInfoProto{pb.GetInput(), pb.GetValueInfo(), pb.GetOutput()} {
		for _, info := range infos {
			g.ports[info.GetName()] = ir.PortOf(info)
		}
	}
	for _, t := range pb.GetInitializer() {
		g.ports[t.GetName()] = ir.Port{Name: t.GetName(), DType: ir.DType(t.GetDataType()), Shape: append([]int64{}, t.GetDims()...)}
	}
	for _, n := range g.nodes {
		for _, name := range n.GetInput() {
			g.consumers[name] = append(g.consumers[name], n)
		}
		for _, name := range n.GetOutput() {
			g.producers[name] = n
		}
	}
	for _, n := range g.nodes {
		if isQ(n) || isDQ(n) {
			if e, err := g.readEncoding(n); err != nil {
				g.report(Error, nodeName(n), "%v", err)
			} else {
				g.encodings[n] = e
			}
		}
	}
	return g
}

func (g *graph) report(s Severity, node, format string, args ...any) {
	*g.findings = append(*g.findings, Finding{s, g.rule, g.file(), node, fmt.Sprintf(format, args...)})
}

func (g *graph) file() string { return filepath.Base(g.Path) }

func (g *graph) isConstant(name string) bool { return g.Initializer(name) != nil }

func (g *graph) isFloat(name string) bool { return g.ports[name].DType.IsFloat() }

// isWeight tells whether a Q or DQ node encodes a constant.
func (g *graph) isWeight(n *onnxpb.NodeProto) bool { return g.isConstant(input(n, 0)) }

func isQ(n *onnxpb.NodeProto) bool  { return n.GetOpType() == "QuantizeLinear" }
func isDQ(n *onnxpb.NodeProto) bool { return n.GetOpType() == "DequantizeLinear" }

// keptFloat tells whether the exporter marked the node as unquantized by design.
func keptFloat(n *onnxpb.NodeProto) bool { return metadata(n, ir.PrecisionKey) == ir.PrecisionFloat }

// metadata returns what a node's metadata says under a key, "" if nothing.
func metadata(n *onnxpb.NodeProto, key string) string {
	for _, e := range n.GetMetadataProps() {
		if e.GetKey() == key {
			return e.GetValue()
		}
	}
	return ""
}

// nodeName falls back to the first result, since a node's name is optional in ONNX.
func nodeName(n *onnxpb.NodeProto) string {
	if n.GetName() != "" || len(n.GetOutput()) == 0 {
		return n.GetName()
	}
	return n.GetOutput()[0]
}

func input(n *onnxpb.NodeProto, i int) string {
	if i < len(n.GetInput()) {
		return n.GetInput()[i]
	}
	return ""
}

func output(n *onnxpb.NodeProto) string {
	if len(n.GetOutput()) == 0 {
		return ""
	}
	return n.GetOutput()[0]
}

func intAttr(n *onnxpb.NodeProto, name string, absent int) int {
	for _, a := range n.GetAttribute() {
		if a.GetName() == name {
			return int(a.GetI())
		}
	}
	return absent
}

func intsAttr(n *onnxpb.NodeProto, name string) []int64 {
	for _, a := range n.GetAttribute() {
		if a.GetName() == name {
			return a.GetInts()
		}
	}
	return nil
}

// readEncoding gives the encoding that a Q or DQ node applies and checks it against
// the tensor's shape.
func (g *graph) readEncoding(n *onnxpb.NodeProto) (encoding.Encoding, error) {
	codes := g.ports[input(n, 0)]
	if isQ(n) {
		codes = g.ports[output(n)]
	}
	e := codes.DType.Encoding(nil, nil, intAttr(n, "axis", 1), intAttr(n, "block_size", 0))
	if e.Bits == 0 {
		return e, fmt.Errorf("%s is no type of codes", codes.DType)
	}
	shape := make([]int, len(codes.Shape))
	for i, size := range codes.Shape {
		shape[i] = int(size)
	}
	if e.Axis < 0 {
		e.Axis += len(shape)
	}
	var err error
	if e.Scales, err = g.constantFloats(input(n, 1)); err != nil {
		return e, fmt.Errorf("scale: %w", err)
	}
	if zero := input(n, 2); zero != "" {
		if e.Zeros, err = g.constantZeros(zero, codes.DType); err != nil {
			return e, fmt.Errorf("zero point: %w", err)
		}
	}
	if !codes.Static() {
		return e, fmt.Errorf("its codes have no static shape")
	}
	_, err = e.ParamShape(shape)
	return e, err
}

func (g *graph) constantFloats(name string) ([]float32, error) {
	if !g.isConstant(name) {
		return nil, fmt.Errorf("%q is no constant", name)
	}
	t, err := g.Tensor(name)
	if err != nil {
		return nil, err
	}
	return t.Floats()
}

func (g *graph) constantZeros(name string, want ir.DType) ([]int32, error) {
	if !g.isConstant(name) {
		return nil, fmt.Errorf("%q is no constant", name)
	}
	t, err := g.Tensor(name)
	if err != nil {
		return nil, err
	}
	if t.DType != want {
		return nil, fmt.Errorf("it is %s for codes of %s", t.DType, want)
	}
	wide, err := t.Ints()
	zeros := make([]int32, len(wide))
	for i, z := range wide {
		zeros[i] = int32(z)
	}
	return zeros, err
}

// Package half makes a graph compute as an NPU does that has float16 for floats: what
// stays in float is rounded to float16 wherever it is stored. It runs in any runtime, whose
// own sums and functions stay in float32.
package half

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"eisft/export/ir"
	"eisft/export/onnxpb"
	"eisft/model/kernels"
)

// peakPrefix begins the names of the outputs that Round adds.
const peakPrefix = "eisft.peak:"

// Round changes a model: every float32 value that a node reads or an output gives passes
// through float16, but for what Q and DQ nodes read and what integer ops exchange with them:
// in a graph with Q nodes these are all ops that are not marked as kept in float. Watched, it gets
// an output for each value that is rounded, its largest magnitude before that (see Worst).
// Weights in an external file are rounded once, in w: with casts before them, ONNX Runtime
// would compute what the casts give as it loads a graph, and hold it in memory for each graph.
func (w *Weights) Round(m *ir.Model, watched bool) error {
	r := newRounder(m.Proto.GetGraph())
	r.watched = watched
	if err := r.storeRounded(m, w); err != nil {
		return fmt.Errorf("round to float16: %w", err)
	}
	r.splitOutputs()
	for _, n := range r.graph.Node {
		r.node(n)
	}
	for _, name := range r.outputs {
		if to, ok := r.rounded[name+rawSuffix]; ok { // something reads it too
			r.op("Cast", to+halfSuffix, name, castTo(ir.Float32))
		} else {
			r.cast(name+rawSuffix, name)
		}
	}
	r.graph.Node = slices.Concat(r.nodes, r.peaks)
	if r.err != nil {
		return fmt.Errorf("round to float16: %w", r.err)
	}
	return nil
}

// The ends of the names of an output before it is rounded, and of a value in float16.
const (
	rawSuffix  = "/unrounded"
	halfSuffix = "/half"
)

type rounder struct {
	graph     *onnxpb.GraphProto
	nodes     []*onnxpb.NodeProto // the new list
	peaks     []*onnxpb.NodeProto // of the values, to stand behind it: see cast
	floats    map[string]int      // ranks of float32 values by name
	constants map[string]bool
	stored    map[string]bool // constants that are rounded where they are stored
	producers map[string]*onnxpb.NodeProto
	quantized bool
	watched   bool
	rounded   map[string]string // names of rounded values
	outputs   []string          // those that are rounded
	err       error
}

func newRounder(g *onnxpb.GraphProto) *rounder {
	r := &rounder{
		graph: g, floats: map[string]int{}, constants: map[string]bool{}, stored: map[string]bool{},
		producers: map[string]*onnxpb.NodeProto{}, rounded: map[string]string{},
	}
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.ValueInfo, g.Output} {
		for _, v := range list {
			if p := ir.PortOf(v); p.DType == ir.Float32 {
				r.floats[p.Name] = len(p.Shape)
			}
		}
	}
	for _, t := range g.Initializer {
		r.constants[t.GetName()] = true
		if ir.DType(t.GetDataType()) == ir.Float32 {
			r.floats[t.GetName()] = len(t.GetDims())
		}
	}
	for _, n := range g.Node {
		r.quantized = r.quantized || n.GetOpType() == "QuantizeLinear"
		for _, o := range n.Output {
			r.producers[o] = n
		}
	}
	return r
}

func isCoder(n *onnxpb.NodeProto) bool {
	return n.GetOpType() == "QuantizeLinear" || n.GetOpType() == "DequantizeLinear"
}

// computesFloat tells whether a node computes in float on the device.
func (r *rounder) computesFloat(n *onnxpb.NodeProto) bool {
	if isCoder(n) {
		return false
	}
	kept := slices.ContainsFunc(n.GetMetadataProps(), func(e *onnxpb.StringStringEntryProto) bool {
		return e.GetKey() == ir.PrecisionKey && e.GetValue() == ir.PrecisionFloat
	})
	return kept || !r.quantized
}

// splitOutputs gives what float nodes make for outputs another name, so that a cast can
// take the output's.
func (r *rounder) splitOutputs() {
	renamed := map[string]string{}
	for _, o := range r.graph.Output {
		name := o.GetName()
		n := r.producers[name]
		if _, float := r.floats[name]; !float || n == nil || !r.computesFloat(n) {
			continue
		}
		renamed[name] = name + rawSuffix
		r.outputs = append(r.outputs, name)
		r.floats[name+rawSuffix], r.producers[name+rawSuffix] = r.floats[name], n
		delete(r.floats, name)
	}
	for _, n := range r.graph.Node {
		for _, list := range [][]string{n.Input, n.Output} {
			for i, name := range list {
				if to, ok := renamed[name]; ok {
					list[i] = to
				}
			}
		}
	}
}

// node adds a node, with casts before it where it reads float16.
func (r *rounder) node(n *onnxpb.NodeProto) {
	for i, name := range n.Input {
		switch p := r.producers[name]; {
		case isCoder(n) && i > 0: // scale and zero point
		case r.computesFloat(n), p == nil && !r.constants[name], p != nil && r.computesFloat(p):
			n.Input[i] = r.round(name)
		}
	}
	r.nodes = append(r.nodes, n)
}

// round returns the name of a value after float16.
func (r *rounder) round(name string) string {
	if _, float := r.floats[name]; !float || r.stored[name] {
		return name
	}
	if to, ok := r.rounded[name]; ok {
		return to
	}
	to := name + "/float16"
	r.rounded[name] = to
	r.cast(name, to)
	return to
}

// cast adds the way from a value through float16, and, watched, an output for its largest magnitude. ONNX
// Runtime goes back from the nodes that nothing reads, the last of the list first, and runs what
// they need: the peaks stand at the end, that of the first value last, so that each is taken when
// its value is there. In the order of the graph they would be taken at the end, and all values
// wait for it: on the demo base, 512 tokens beside 2048 then took 2.1 GB in place of 0.55.
func (r *rounder) cast(from, to string) {
	half := to + halfSuffix
	r.op("Cast", from, half, castTo(ir.Float16))
	r.op("Cast", half, to, castTo(ir.Float32))
	rank := r.floats[from]
	if !r.watched || r.constants[from] || rank == 0 {
		return
	}
	peak := peakPrefix + strings.TrimSuffix(from, rawSuffix)
	nodes := r.nodes
	r.nodes = nil
	r.op("Abs", from, to+"/abs")
	r.op("ReduceMax", to+"/abs", peak, &onnxpb.AttributeProto{Name: "keepdims", Type: onnxpb.AttributeProto_INT, I: 1})
	r.nodes, r.peaks = nodes, append(r.nodes, r.peaks...)
	shape := &onnxpb.TensorShapeProto{}
	for range rank {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 1}})
	}
	r.graph.Output = append(r.graph.Output, &onnxpb.ValueInfoProto{Name: peak, Type: &onnxpb.TypeProto{
		Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: int32(ir.Float32), Shape: shape}},
	}})
}

func castTo(d ir.DType) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: "to", Type: onnxpb.AttributeProto_INT, I: int64(d)}
}

func (r *rounder) op(op, in, out string, attrs ...*onnxpb.AttributeProto) {
	if _, taken := r.producers[out]; taken && r.err == nil && !slices.Contains(r.outputs, out) {
		r.err = fmt.Errorf("the name %q is taken", out)
	}
	r.nodes = append(r.nodes, &onnxpb.NodeProto{Name: "eisft.half:" + out, OpType: op, Input: []string{in}, Output: []string{out}, Attribute: attrs})
}

// Worst looks through the outputs that Round added, in the order of the graph, for the
// first value that was beyond float16 or all of which float16 rounds to 0, and says so; ""
// where there is none. peak returns an output's number.
func Worst(outputs []ir.Port, peak func(name string) float32) string {
	for _, p := range outputs {
		name, ok := strings.CutPrefix(p.Name, peakPrefix)
		if !ok {
			continue
		}
		switch v := float64(peak(p.Name)); {
		case math.IsNaN(v):
			return fmt.Sprintf("%s is not a number", name)
		case v > kernels.MaxF16:
			return fmt.Sprintf("%s reaches %.3g, beyond the largest float16, %d", name, v, kernels.MaxF16)
		case v > 0 && v <= kernels.ZeroF16:
			return fmt.Sprintf("%s is at most %.3g, which is 0 in float16", name, v)
		}
	}
	return ""
}

// Vanishing lists the constants of one number of a model that float16 rounds to 0, but for
// the scales of Q and DQ.
func Vanishing(m *ir.Model) []string {
	var list []string
	read := map[string]bool{} // by ops that compute
	for _, n := range m.Proto.GetGraph().GetNode() {
		for _, name := range n.GetInput() {
			read[name] = read[name] || !isCoder(n)
		}
	}
	for _, c := range m.Proto.GetGraph().GetInitializer() {
		if c.GetDataLocation() == onnxpb.TensorProto_EXTERNAL || !read[c.GetName()] {
			continue
		}
		if t, err := m.Tensor(c.GetName()); err == nil && t.DType == ir.Float32 {
			if v, err := t.Floats(); err == nil && len(v) == 1 && v[0] != 0 && math.Abs(float64(v[0])) <= kernels.ZeroF16 {
				list = append(list, fmt.Sprintf("%s is %g, which is 0 in float16", c.GetName(), v[0]))
			}
		}
	}
	return list
}

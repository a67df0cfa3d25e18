package check

import (
	"fmt"
	"slices"
	"strings"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/export/onnxpb"
	"eisft/quant/encoding"
)

// checkEncodings: Q and DQ have float32 on one side and agree with each other. Their
// scales and zero points were checked when they were read.
func checkEncodings(g *graph) {
	for _, n := range g.nodes {
		if isQ(n) && !g.isFloat(input(n, 0)) {
			g.report(Error, nodeName(n), "QuantizeLinear of %s %q, want float32", g.ports[input(n, 0)].DType, input(n, 0))
		}
		if isDQ(n) && !g.isFloat(output(n)) {
			g.report(Error, nodeName(n), "DequantizeLinear to %s %q, want float32", g.ports[output(n)].DType, output(n))
		}
		q := g.producers[input(n, 0)]
		written, ok := g.encodings[q]
		if read := g.encodings[n]; isDQ(n) && isQ(q) && ok && len(read.Scales) > 0 && !read.Equal(written) {
			g.report(Error, nodeName(n), "it reads %s, but %s writes %s", read, nodeName(q), written)
		}
	}
}

// checkCoverage: in a graph with quantized activations every float tensor between two
// nodes has an encoding, which means it passes Q and DQ. A converter calibrates what
// has none by itself, silently. A product and the bias added to it are one op to all of
// them. Nodes marked as kept in float are left alone; what they exchange with the
// others must have an encoding.
func checkCoverage(g *graph) {
	if !slices.ContainsFunc(g.nodes, isQ) {
		return // a float graph, or one with quantized weights alone
	}
	for _, n := range g.nodes {
		if isQ(n) || isDQ(n) || keptFloat(n) {
			continue
		}
		for _, name := range n.GetInput() {
			if g.isFloat(name) && (g.producers[name] == nil || !isDQ(g.producers[name])) && !g.isBiasAdd(n) {
				g.report(Error, nodeName(n), "its input %q has no encoding: it must come from a DequantizeLinear", name)
			}
		}
		for _, name := range n.GetOutput() {
			next := g.consumers[name]
			covered := len(next) > 0 && allQ(next) || len(next) == 1 && g.isBiasAdd(next[0])
			if g.isFloat(name) && !covered {
				g.report(Error, nodeName(n), "its result %q has no encoding: it must go to a QuantizeLinear and nowhere else", name)
			}
		}
	}
}

// isBiasAdd tells whether a node adds a constant to a product that nothing else reads.
func (g *graph) isBiasAdd(n *onnxpb.NodeProto) bool {
	for i := range 2 {
		product := g.producers[input(n, i)]
		if n.GetOpType() == "Add" && product.GetOpType() == "MatMul" && len(g.consumers[input(n, i)]) == 1 && g.isConstant(input(n, 1-i)) {
			return true
		}
	}
	return false
}

func allQ(nodes []*onnxpb.NodeProto) bool {
	return !slices.ContainsFunc(nodes, func(n *onnxpb.NodeProto) bool { return !isQ(n) })
}

// checkConcats: what a Concat joins and its result share one encoding, so that the
// phone moves codes and never rescales them.
func checkConcats(g *graph) {
	for _, n := range g.nodes {
		if n.GetOpType() != "Concat" || keptFloat(n) {
			continue
		}
		var first *encoding.Encoding
		var firstName string
		tie := func(name string, coder *onnxpb.NodeProto) {
			e, ok := g.encodings[coder]
			switch {
			case !ok:
			case first == nil:
				first, firstName = &e, name
			case !e.Equal(*first):
				g.report(Error, nodeName(n), "Concat: %q has %s, %q has %s; they must be tied to one", firstName, first, name, e)
			}
		}
		for _, name := range n.GetInput() {
			tie(name, g.producers[name])
		}
		for _, q := range g.consumers[output(n)] {
			tie(output(n), q)
		}
	}
}

// statePairs are the inputs and outputs that carry a state from run to run.
func statePairs(graphs []*graph, m *manifest.Manifest) []manifest.State {
	if m != nil {
		return m.States
	}
	var pairs []manifest.State
	for _, g := range graphs {
		for _, p := range g.Inputs {
			base, ok := strings.CutSuffix(p.Name, "_in")
			pair := manifest.State{In: p.Name, Out: base + "_out"}
			if ok && !slices.Contains(pairs, pair) {
				pairs = append(pairs, pair)
			}
		}
	}
	return pairs
}

// families groups the graphs that share their states: those of one precision, or
// all of them without a manifest.
func families(graphs []*graph, m *manifest.Manifest) [][]*graph {
	if m == nil {
		return [][]*graph{graphs}
	}
	var list [][]*graph
	for _, precision := range m.Precisions() {
		var family []*graph
		for _, g := range graphs {
			if m.PrecisionOf(g.file()) == precision {
				family = append(family, g)
			}
		}
		list = append(list, family)
	}
	return list
}

// end is one place where a state enters or leaves a graph.
type end struct {
	graph    *graph
	name     string
	dtype    ir.DType
	encoding *encoding.Encoding // nil for a float state
}

// checkStates: a state has one type and one encoding wherever it enters or leaves a
// graph, since the host copies its bytes from one to the other.
func checkStates(graphs []*graph, pairs []manifest.State) {
	for _, pair := range pairs {
		var ends []end
		for _, g := range graphs {
			for _, p := range g.Inputs {
				if p.Name == pair.In {
					ends = append(ends, g.ends(p, g.consumers[p.Name])...)
				}
			}
			for _, p := range g.Outputs {
				if p.Name == pair.Out {
					ends = append(ends, g.ends(p, []*onnxpb.NodeProto{g.producers[p.Name]})...)
				}
			}
		}
		for _, e := range ends[min(1, len(ends)):] {
			if message := e.differs(ends[0]); message != "" {
				e.graph.report(Error, e.name, "%s", message)
			}
		}
	}
}

// ends lists the encodings that a port's neighbours give it, or one end without. An input
// that nothing reads has no ends.
func (g *graph) ends(p ir.Port, neighbours []*onnxpb.NodeProto) []end {
	var ends []end
	if len(neighbours) == 0 {
		return nil
	}
	for _, n := range neighbours {
		if e, ok := g.encodings[n]; ok {
			ends = append(ends, end{g, p.Name, p.DType, &e})
		}
	}
	if len(ends) == 0 {
		ends = append(ends, end{g, p.Name, p.DType, nil})
	}
	return ends
}

func (e end) differs(o end) string {
	other := fmt.Sprintf("%q of %s", o.name, o.graph.file())
	switch {
	case e.dtype != o.dtype:
		return fmt.Sprintf("the state is %s here and %s as %s", e.dtype, o.dtype, other)
	case (e.encoding == nil) != (o.encoding == nil):
		return fmt.Sprintf("of this state and %s only one is quantized", other)
	case e.encoding != nil && !e.encoding.Equal(*o.encoding):
		return fmt.Sprintf("the state has %s here and %s as %s: they must be tied to one", e.encoding, o.encoding, other)
	}
	return ""
}

package check

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/export/onnxpb"
	"eisft/quant"
	"eisft/quant/encoding"
)

// pointOf returns what a Q or DQ node encodes, as the quantized model calls it; "" where
// the file does not say.
func pointOf(n *onnxpb.NodeProto) string { return metadata(n, ir.PointKey) }

// Quantized compares the quantized graphs of an exported folder, or a single file,
// with the model that they were made from, bit by bit: every scale and zero point of a Q
// or DQ node, or in the files of encodings beside a graph, and every code of a weight. A
// graph that gives logits must have all that the model has.
func Quantized(path string, q *quant.Quantized) ([]Finding, error) {
	models, m, err := open(path)
	if err != nil {
		return nil, err
	}
	if m != nil && m.Quantization != nil {
		if r, c := m.Quantization, q.Calibration.Hash; r.Scheme != q.Scheme.Name || r.Calibration != c {
			return []Finding{{Error, RuleCodes, manifest.Name, "", fmt.Sprintf("the graphs were made from a model quantized as %s and calibrated on %.12s, not from the one they are compared with (%s, %.12s); name its folder with --quant", r.Scheme, r.Calibration, q.Scheme.Name, c)}}, nil
		}
	}
	var findings []Finding
	all := newCoverage(q, m)
	for _, model := range models {
		g := newGraph(model, &[]Finding{}) // what is wrong with the nodes is for Check to say
		g.findings, g.rule = &findings, RuleCodes
		quantized := len(g.encodings) > 0
		if m != nil {
			quantized = !manifest.IsFloat(m.PrecisionOf(g.file()))
		}
		if quantized {
			all.cover(g, g.compare(q))
		}
		if part := encodedPart(m, g.file()); len(part.Encodings) > 0 {
			all.cover(g, g.compareEncodings(part, q))
		}
	}
	if inLite(path, m) {
		found, err := compareLite(path, m, q, all)
		if err != nil {
			return nil, err
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

// compare holds the graph to the quantized model and returns the names that it encodes.
func (g *graph) compare(q *quant.Quantized) (seen map[string]bool) {
	seen = map[string]bool{}
	for _, n := range g.nodes {
		e, ok := g.encodings[n]
		if !ok {
			continue
		}
		point := pointOf(n)
		if point == "" {
			g.report(Error, nodeName(n), "%s does not say what it encodes (%s in its metadata), so that its encoding cannot be compared with the quantized model's; export again", n.GetOpType(), ir.PointKey)
			continue
		}
		seen[point] = true
		p := q.Point(point)
		if g.isWeight(n) && (p == nil || len(p.Codes) == 0) {
			g.compareWeight(n, e, q.Weight(point), point)
			continue
		}
		if p == nil {
			g.report(Error, nodeName(n), "%s encodes %s, which has no encoding in the quantized model", n.GetOpType(), point)
			continue
		}
		if d := e.AsSigned().Difference(p.Encoding.AsSigned()); d != "" { // some are unsigned for a target's sake
			g.report(Error, nodeName(n), "%s of %s: %s as in the quantized model", n.GetOpType(), point, d)
		}
		if g.isWeight(n) {
			g.compareConstant(input(n, 0), p)
		}
	}
	return seen
}

// compareWeight holds the weights of a map, stored [In,Out], to those of the model.
func (g *graph) compareWeight(n *onnxpb.NodeProto, e encoding.Encoding, w *quant.Weight, point string) {
	name := input(n, 0)
	if w == nil {
		g.report(Error, name, "the quantized model has no weights %s", point)
		return
	}
	if shape := g.ports[name].Shape; !slices.Equal(shape, []int64{int64(w.In), int64(w.Out)}) {
		g.report(Error, name, "the codes of %s are %v, want [%d %d] as in the quantized model", point, shape, w.In, w.Out)
		return
	}
	want := w.Transposed(w.Out, w.In)
	want.Channels = nil // a graph has their multiples alone, the scales of blocks
	if d := e.Difference(want); d != "" {
		g.report(Error, nodeName(n), "%s of %s: %s as in the quantized model", n.GetOpType(), point, d)
	}
	codes, err := g.codes(name)
	if err != nil {
		g.report(Error, name, "%v", err)
		return
	}
	wrong, first := 0, 0
	for i, c := range codes {
		if want := w.Codes[i%w.Out*w.In+i/w.Out]; c != int64(want) {
			if wrong == 0 {
				first = i
			}
			wrong++
		}
	}
	if wrong > 0 {
		row, column := first%w.Out, first/w.Out
		g.report(Error, name, "%d codes of %s differ from the quantized model's, the first one for output %d and input %d: it is %d, want %d", wrong, point, row, column, codes[first], w.Codes[row*w.In+column])
	}
}

// compareConstant holds the codes of a constant of the base to the model's.
func (g *graph) compareConstant(name string, p *quant.Point) {
	codes, err := g.codes(name)
	if err != nil {
		g.report(Error, name, "%v", err)
		return
	}
	if len(codes) != len(p.Codes) {
		g.report(Error, name, "%s has %d codes, want %d as in the quantized model", p.Name, len(codes), len(p.Codes))
		return
	}
	for i, c := range codes {
		if c != int64(p.Codes[i]) {
			g.report(Error, name, "code %d of %s is %d, want %d as in the quantized model", i, p.Name, c, p.Codes[i])
		}
	}
}

// codes reads those of a constant.
func (g *graph) codes(name string) ([]int64, error) {
	t, err := g.Tensor(name)
	if err != nil {
		return nil, err
	}
	return t.Ints()
}

// checkPorts: the manifest gives a port the encoding that the file has there.
func (g *graph) checkPorts(inputs, outputs []manifest.Port) {
	for _, p := range inputs {
		for _, n := range g.consumers[p.Name] {
			g.comparePort(p, n)
		}
	}
	for _, p := range outputs {
		if n := g.producers[p.Name]; n != nil && isQ(n) {
			g.comparePort(p, n)
		}
	}
}

// comparePort holds the Q or DQ node beside a port to what the manifest says of it.
func (g *graph) comparePort(p manifest.Port, n *onnxpb.NodeProto) {
	e, ok := g.encodings[n]
	if !ok || p.Encoding == nil {
		return
	}
	if d := e.Difference(*p.Encoding); d != "" {
		g.report(Error, p.Name, "%s: %s as the manifest says", n.GetOpType(), d)
	}
}

// use is a place where a point is encoded.
type use struct {
	graph    *graph
	node     string
	encoding encoding.Encoding
	codes    string // name of a weight's codes, "" of what is no constant
}

// checkPoints: a point has one encoding wherever it stands, in all graphs of a precision,
// and a weight the same codes.
func checkPoints(graphs []*graph) {
	first := map[string]use{}
	for _, g := range graphs {
		for _, n := range g.nodes {
			e, ok := g.encodings[n]
			point := pointOf(n)
			if !ok || point == "" {
				continue
			}
			u := use{g, nodeName(n), e, ""}
			if g.isWeight(n) {
				u.codes = input(n, 0)
			}
			o, known := first[point]
			if !known {
				first[point] = u
				continue
			}
			if d := u.differs(o); d != "" {
				g.report(Error, u.node, "%s of %s: %s as at %s of %s", n.GetOpType(), point, d, o.node, o.graph.file())
			}
		}
	}
}

// differs says how two uses of a point contradict each other.
func (u use) differs(o use) string {
	if d := u.encoding.AsSigned().Difference(o.encoding.AsSigned()); d != "" {
		return d
	}
	if (u.codes == "") != (o.codes == "") {
		return "it is a weight in one place alone"
	}
	if u.codes == "" || u.graph.sameBytes(u.codes, o.graph, o.codes) {
		return ""
	}
	return fmt.Sprintf("the codes %q are not those", u.codes)
}

// sameBytes compares two constants: by their place where both are in one file, or byte by
// byte. What cannot be read is for another rule to report.
func (g *graph) sameBytes(name string, o *graph, other string) bool {
	a, b := g.Initializer(name), o.Initializer(other)
	if a.GetDataLocation() == onnxpb.TensorProto_EXTERNAL && b.GetDataLocation() == onnxpb.TensorProto_EXTERNAL && filepath.Dir(g.Path) == filepath.Dir(o.Path) {
		x, errX := ir.ExternalOf(a)
		y, errY := ir.ExternalOf(b)
		if errX == nil && errY == nil && x == y {
			return true
		}
	}
	x, errX := g.Tensor(name)
	y, errY := o.Tensor(other)
	return errX != nil || errY != nil || x.DType == y.DType && bytes.Equal(x.Raw, y.Raw)
}

package check

import (
	"strings"

	"eisft/export/ir"
	"eisft/export/onnxpb"
)

// Figures are what a graph takes, as its file says.
type Figures struct {
	ir.MACs
	// Activations is the most bytes of results that are needed at one time, in the order of the
	// file: of codes where what reads them reads codes. A runtime that fuses ops takes less.
	Activations int64
	Masks       int64 // bytes of the masks that a host writes
	TiledMask   int64 // the largest mask as it is added to scores, in 16 bits
	// Constants are those outside the file; Inline is the bytes of those in it.
	Constants []ir.External
	Inline    int64
}

// Measure counts what a graph takes.
func Measure(m *ir.Model) (Figures, error) {
	g := newGraph(m, &[]Finding{}) // what is wrong with the nodes is for Check to say
	f := Figures{MACs: g.macs(), Activations: g.mostAlive()}
	for _, p := range g.Inputs {
		if strings.HasPrefix(p.Name, maskPrefix) {
			f.Masks += g.bytes(p.Name)
			f.TiledMask = max(f.TiledMask, int64(g.tiledMask(p.Name)))
		}
	}
	for _, t := range m.Proto.GetGraph().GetInitializer() {
		if t.GetDataLocation() != onnxpb.TensorProto_EXTERNAL {
			f.Inline += g.bytes(t.GetName())
			continue
		}
		at, err := ir.ExternalOf(t)
		if err != nil {
			return f, err
		}
		f.Constants = append(f.Constants, at)
	}
	return f, nil
}

// bytes is the size of a value of static shape.
func (g *graph) bytes(name string) int64 {
	p := g.ports[name]
	return int64(elements(p.Shape)) * int64(p.DType.Bits()) / 8
}

// resident tells whether a result takes memory of its own: not what only turns into codes, or
// comes of them.
func (g *graph) resident(n *onnxpb.NodeProto, name string) bool {
	next := g.consumers[name]
	return !isDQ(n) && (len(next) == 0 || !allQ(next))
}

// mostAlive is the most bytes of results that are needed at one time. Codes are made by the
// op whose result they are, and are read wherever what DequantizeLinear makes of them is.
func (g *graph) mostAlive() int64 {
	made, last := map[string]int{}, map[string]int{}
	for i, n := range g.nodes {
		for _, name := range n.GetInput() {
			for dq := g.producers[name]; isDQ(dq); dq = g.producers[name] {
				name = input(dq, 0)
			}
			last[name] = i
		}
		for _, name := range n.GetOutput() {
			made[name] = i
			if at, ok := made[input(n, 0)]; ok && isQ(n) {
				made[name] = at
			}
		}
	}
	change := make([]int64, len(g.nodes)+1)
	for i, n := range g.nodes {
		for _, name := range n.GetOutput() {
			if g.resident(n, name) && !g.isOutputPort(name) {
				change[made[name]] += g.bytes(name)
				change[max(i, last[name])+1] -= g.bytes(name)
			}
		}
	}
	now, most := int64(0), int64(0)
	for _, c := range change {
		now += c
		most = max(most, now)
	}
	return most
}

// tiledMask is the most bytes that a mask takes as it is added to scores, in 16 bits.
func (g *graph) tiledMask(name string) float64 {
	bytes := 0.0
	g.follow(name, func(sum *onnxpb.NodeProto) { bytes = max(bytes, 2*elements(g.ports[output(sum)].Shape)) })
	return bytes
}

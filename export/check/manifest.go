package check

import (
	"maps"
	"math"
	"slices"

	"eisft/export/ir"
	"eisft/export/manifest"
)

// checkManifest: the graphs have the inputs, outputs and ops that the manifest says.
// What it says of files that are not being checked is left alone.
func checkManifest(graphs []*graph, m *manifest.Manifest) {
	byFile := map[string]*graph{}
	for _, g := range graphs {
		byFile[g.file()] = g
	}
	for _, listed := range m.Graphs {
		var parts []*graph
		for _, p := range listed.Parts {
			g := byFile[p.File]
			if g == nil {
				continue
			}
			parts = append(parts, g)
			if ops := g.OpCounts(); !maps.Equal(ops, p.Ops) {
				g.report(Error, "", "it has the ops %v, the manifest says %v", ops, p.Ops)
			}
		}
		if len(parts) < len(listed.Parts) {
			continue
		}
		inputs := func(g *graph) []ir.Port { return g.Inputs }
		outputs := func(g *graph) []ir.Port { return g.Outputs }
		comparePorts(parts, "input", listed.Inputs, inputs, outputs)
		comparePorts(parts, "output", listed.Outputs, outputs, inputs)
		checkPorts(parts, listed)
		checkFloatShare(parts, listed)
	}
}

// shareDigits bounds what the order of a sum changes in a share.
const shareDigits = 1e-9

// checkFloatShare: the manifest has the share of multiply-accumulates in float that the parts
// of a quantized graph have.
func checkFloatShare(parts []*graph, listed manifest.Graph) {
	if manifest.IsFloat(listed.Precision) {
		return
	}
	var all ir.MACs
	for _, g := range parts {
		m := g.macs()
		all.Float, all.All = all.Float+m.Float, all.All+m.All
	}
	if got := all.FloatShare(); math.Abs(got-listed.FloatMACs) > shareDigits {
		parts[0].report(Error, "", "%.4f of its multiply-accumulates are in float, the manifest says %.4f (float_macs_share)", got, listed.FloatMACs)
	}
}

// comparePorts holds one side of a graph's parts to the manifest's list. What is not
// listed must be on the other side of some part: then it passes between parts.
func comparePorts(parts []*graph, side string, listed []manifest.Port, own, other func(*graph) []ir.Port) {
	want, between := map[string]manifest.Port{}, map[string]bool{}
	for _, p := range listed {
		want[p.Name] = p
	}
	for _, g := range parts {
		for _, p := range other(g) {
			between[p.Name] = true
		}
	}
	for _, g := range parts {
		for _, p := range own(g) {
			w, ok := want[p.Name]
			delete(want, p.Name)
			switch {
			case !ok && !between[p.Name]:
				g.report(Error, p.Name, "the manifest does not list this %s", side)
			case ok && (p.DType.String() != w.DType || !sameShape(p.Shape, w.Shape)):
				g.report(Error, p.Name, "the %s is %s %v, the manifest says %s %v", side, p.DType, p.Shape, w.DType, w.Shape)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		parts[0].report(Error, name, "the manifest lists this %s, but no part has it", side)
	}
}

func sameShape(a []int64, b []int) bool {
	return slices.EqualFunc(a, b, func(x int64, y int) bool { return x == int64(y) })
}

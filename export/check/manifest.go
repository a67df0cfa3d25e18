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
		for i, g := range parts {
			inputs, outputs := listed.InputsOf(listed.Parts[i]), listed.OutputsOf(listed.Parts[i])
			g.comparePorts("input", inputs, g.Inputs)
			g.comparePorts("output", outputs, g.Outputs)
			g.checkPorts(inputs, outputs)
		}
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

// comparePorts holds one side of a file to what the manifest lists of it.
func (g *graph) comparePorts(side string, listed []manifest.Port, have []ir.Port) {
	want := map[string]manifest.Port{}
	for _, p := range listed {
		want[p.Name] = p
	}
	for _, p := range have {
		w, ok := want[p.Name]
		delete(want, p.Name)
		switch {
		case !ok:
			g.report(Error, p.Name, "the manifest does not list this %s", side)
		case p.DType.String() != w.DType || !sameShape(p.Shape, w.Shape):
			g.report(Error, p.Name, "the %s is %s %v, the manifest says %s %v", side, p.DType, p.Shape, w.DType, w.Shape)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		g.report(Error, name, "the manifest lists this %s, but the file does not have it", side)
	}
}

func sameShape(a []int64, b []int) bool {
	return slices.EqualFunc(a, b, func(x int64, y int) bool { return x == int64(y) })
}

package check

import (
	"maps"
	"slices"
	"strings"

	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/quant"
)

// coverage is what graphs were seen to encode of a quantized model. One that gives logits must
// have all of it, together with the parts before it.
type coverage struct {
	model    *quant.Quantized
	manifest *manifest.Manifest // nil of a single file
	seen     map[place]map[string]bool
}

// place is a file, or a signature in one.
type place struct{ file, signature string }

func newCoverage(q *quant.Quantized, m *manifest.Manifest) *coverage {
	return &coverage{q, m, map[place]map[string]bool{}}
}

// add notes the names that a graph encodes, after those of the parts before it, and reports what
// is missing in the end. Of a last part alone, without its manifest, nothing can be said.
func (c *coverage) add(at place, seen map[string]bool, inputs, outputs []string, report func(format string, args ...any)) {
	c.seen[at] = seen
	reads := func(name string) bool { return strings.HasPrefix(name, lower.HiddenPrefix) }
	if !slices.Contains(outputs, "logits") || c.manifest == nil && slices.ContainsFunc(inputs, reads) {
		return
	}
	all := maps.Clone(seen)
	if c.manifest != nil {
		for _, g := range c.manifest.Graphs {
			if slices.ContainsFunc(g.Parts, func(p manifest.Part) bool { return p.File == at.file && p.Signature == at.signature }) {
				for _, p := range g.Parts {
					maps.Copy(all, c.seen[place{p.File, p.Signature}])
				}
			}
		}
	}
	names := map[string]string{}
	for _, w := range c.model.Weights {
		names[w.Name] = "weights of"
	}
	for _, p := range c.model.Points {
		names[p.Name] = "numbers at"
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !all[name] {
			report("the %s %s are quantized in the model, but not in this graph", names[name], name)
		}
	}
}

// cover adds a graph in ONNX.
func (c *coverage) cover(g *graph, seen map[string]bool) {
	var inputs, outputs []string
	for _, p := range g.Inputs {
		inputs = append(inputs, p.Name)
	}
	for _, p := range g.Outputs {
		outputs = append(outputs, p.Name)
	}
	c.add(place{file: g.file()}, seen, inputs, outputs, func(format string, args ...any) { g.report(Error, "", format, args...) })
}

package check

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"eisft/export/aimet"
	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/quant"
)

// compareEncodings holds the files of encodings beside a float graph to the quantized model:
// every tensor of the graph that the model encodes is in each of them, with its scales and
// zero points. It returns the names that the graph encodes.
func (g *graph) compareEncodings(part manifest.Part, q *quant.Quantized) map[string]bool {
	var points map[string]string
	for _, e := range g.Proto.GetMetadataProps() {
		if e.GetKey() == ir.PointsKey {
			if err := json.Unmarshal([]byte(e.GetValue()), &points); err != nil {
				g.report(Error, "", "%s in its metadata: %v", ir.PointsKey, err)
			}
		}
	}
	if points == nil {
		g.report(Error, "", "it does not say what its tensors are (%s in its metadata), so that their encodings cannot be compared with the quantized model's; export again", ir.PointsKey)
		return nil
	}
	want, seen := g.wantedEncodings(points, q)
	for _, name := range part.Encodings {
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(g.Path), name))
		if err != nil {
			g.report(Error, "", "%v", err)
			continue
		}
		differences, err := aimet.Compare(raw, want)
		if err != nil {
			g.report(Error, "", "%s: %v", name, err)
		}
		for _, d := range differences {
			g.report(Error, d.Name, "%s: %s of %s as in the quantized model", name, d.Message, points[d.Name])
		}
	}
	return seen
}

// wantedEncodings are those of the model's points and weights for the graph's tensors.
func (g *graph) wantedEncodings(points map[string]string, q *quant.Quantized) (list []aimet.Tensor, seen map[string]bool) {
	seen = map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(points)) {
		point := points[name]
		seen[point] = true
		t := aimet.Tensor{Name: name, Param: g.isConstant(name)}
		for _, size := range g.ports[name].Shape {
			t.Shape = append(t.Shape, int(size))
		}
		p, w := q.Point(point), q.Weight(point)
		switch {
		case p != nil:
			t.Encoding = p.Encoding
			if q.Scheme.Attention.Unsigned && p.Encoding.Bits == 16 && g.producers[name].GetOpType() == "Mul" {
				t.Encoding = p.Encoding.AsUnsigned() // of the rotary embedding of keys
			}
		case w != nil:
			t.Encoding = w.Transposed(w.Out, w.In)
		default:
			g.report(Error, name, "%s has no encoding in the quantized model", point)
			continue
		}
		list = append(list, t)
	}
	return list, seen
}

// encodedPart is what the manifest says of a file with encodings beside it.
func encodedPart(m *manifest.Manifest, file string) manifest.Part {
	if m == nil {
		return manifest.Part{}
	}
	for _, listed := range m.Graphs {
		for _, p := range listed.Parts {
			if p.File == file {
				return p
			}
		}
	}
	return manifest.Part{}
}

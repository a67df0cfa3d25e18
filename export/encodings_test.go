package export_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/export/ort/orttest"
)

// TestFormatEncodings: float graphs of opset 17 compute what the model does, and the files
// beside them give every tensor of theirs that the quantized model encodes its scales.
func TestFormatEncodings(t *testing.T) {
	orttest.Require(t)
	m := exporttest.Model(t, exporttest.Block(nil), families["head norms"])
	o := options()
	o.Quantized, o.QuantizedOnly, o.Format = exporttest.Quantized(t, m), true, export.FormatEncodings
	dir, info := exported(t, m, o)
	if v := info.Verification[0]; v.Precision != "w8a16"+manifest.EncodingsSuffix || v.MaxLogitError > 1e-4 {
		t.Errorf("%+v", v)
	}
	scales := map[float32]bool{} // of the points and weights that a file has
	for _, g := range info.Graphs {
		model, err := ir.Open(filepath.Join(dir, g.Parts[0].File))
		if err != nil {
			t.Fatal(err)
		}
		if v := model.Proto.OpsetImport[0].Version; v != 17 {
			t.Errorf("%s has opset %d, want 17", g.Parts[0].File, v)
		}
		names := map[string]bool{}
		for _, n := range model.Proto.Graph.Node {
			for _, name := range slices.Concat(n.Input, n.Output) {
				names[name] = true
			}
		}
		for _, file := range g.Parts[0].Encodings {
			raw, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			type entry struct {
				Name   string
				Scale  []float32
				YScale json.RawMessage `json:"y_scale"`
			}
			var f struct {
				Activations []entry `json:"activation_encodings"`
				Params      []entry `json:"param_encodings"`
				Encodings   []entry
			}
			if err := json.Unmarshal(raw, &f); err != nil {
				t.Fatal(err)
			}
			all := slices.Concat(f.Activations, f.Params, f.Encodings)
			if len(all) == 0 {
				t.Errorf("%s is empty", file)
			}
			seen := map[string]bool{}
			for _, e := range all {
				if !names[e.Name] || seen[e.Name] {
					t.Errorf("%s: %s is no tensor of the graph, or there twice", file, e.Name)
				}
				seen[e.Name] = true
				for _, s := range e.Scale {
					scales[s] = true
				}
			}
			if g.Kind == manifest.CommitGraph {
				continue
			}
			for _, w := range o.Quantized.Weights {
				if !seen[w.Name+".weight"] {
					t.Errorf("%s has no encoding of %s", file, w.Name)
				}
			}
		}
	}
	for _, p := range o.Quantized.Points {
		if !scales[p.Encoding.Scales[0]] {
			t.Errorf("no file has the scale of %s", p.Name)
		}
	}
	for _, w := range o.Quantized.Weights {
		for _, s := range w.Scales {
			if !scales[s] {
				t.Errorf("no file has a scale of %s", w.Name)
			}
		}
	}
}

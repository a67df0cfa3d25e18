package export_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/exporttest"
	"eisft/export/ir"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort/orttest"
	"eisft/quant"
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

// TestCheckEncodings: check finds every change of a file of encodings, of either version:
// scales, zero points, types, blocks, what is missing and what is too much; of schemes with
// blocks, low-power ones among them, and of unsigned codes.
func TestCheckEncodings(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	plain := exporttest.Scheme(t, "w8a16", quant.QNN)
	low, blocks := exporttest.Scheme(t, "w4a16-lpbq16", quant.Generic), exporttest.Scheme(t, "w4-g32", quant.Generic)
	low.Weight.Block, blocks.Weight.Block = 8, 8 // which divides this model's rows
	for _, scheme := range []quant.Scheme{plain, low, blocks} {
		o := options()
		o.Quantized, o.QuantizedOnly, o.NoVerify, o.Format = exporttest.QuantizedAs(t, m, scheme), true, true, export.FormatEncodings
		dir, info := exported(t, m, o)
		found := func() []check.Finding {
			t.Helper()
			list, err := check.Quantized(dir, o.Quantized)
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		if list := found(); len(list) > 0 {
			t.Errorf("%s: %v", scheme.Name, list)
		}
		part := info.Of("4x17", scheme.Name+manifest.EncodingsSuffix)[manifest.PromptGraph].Parts[0]
		for _, file := range part.Encodings {
			path := filepath.Join(dir, file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for what, change := range map[string]func(e map[string]any){
				"scale": func(e map[string]any) {
					scaleFirst(e["scale"])
					scaleFirst(e["y_scale"])
					scaleFirst(e["per_channel_float_scale"])
				},
				"type":     func(e map[string]any) { e["bw"], e["output_dtype"] = 12., "int12" },
				"multiple": func(e map[string]any) { e["per_block_int_scale"] = []any{99.} },
				"name":     func(e map[string]any) { e["name"] = "other" },
			} {
				changed, name := changedEncoding(t, text, change)
				if err := os.WriteFile(path, changed, 0o600); err != nil {
					t.Fatal(err)
				}
				if list := found(); !slices.ContainsFunc(list, func(f check.Finding) bool { return f.Node == name && strings.HasPrefix(f.Message, file) }) {
					t.Errorf("%s, %s: another %s of %s is not found: %v", scheme.Name, file, what, name, list)
				}
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// changedEncoding changes an encoding of weights in a file, and returns the file and the
// tensor's name.
func changedEncoding(t *testing.T, text []byte, change func(e map[string]any)) (file []byte, name string) {
	t.Helper()
	var f map[string]any
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"param_encodings", "encodings"} {
		entries, _ := f[list].([]any)
		for _, e := range entries {
			entry := e.(map[string]any)
			if name = entry["name"].(string); strings.HasSuffix(name, "down_proj.weight") {
				change(entry)
				file, err := json.Marshal(f)
				if err != nil {
					t.Fatal(err)
				}
				return file, name
			}
		}
	}
	t.Fatal("there is no encoding of weights")
	return nil, ""
}

// scaleFirst changes the first of nested lists of scales.
func scaleFirst(v any) {
	list, ok := v.([]any)
	if !ok {
		return
	}
	if x, ok := list[0].(float64); ok {
		list[0] = x * 1.001
		return
	}
	scaleFirst(list[0])
}

// TestCheckFloatShare: the manifest's share of float is compared with the graphs', without
// what no output needs.
func TestCheckFloatShare(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.Quantized, o.QuantizedOnly, o.NoVerify, o.Logits = exporttest.Quantized(t, m), true, true, lower.LogitsNone
	dir, info := exported(t, m, o)
	info.Graphs[0].FloatMACs += 0.001
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
	findings, err := check.Path(dir, check.NoTarget)
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) != 1 || findings[0].Rule != check.RuleManifest || !strings.Contains(findings[0].Message, "(float_macs_share)") {
		t.Errorf("%v, want the share of the prompt graph", findings)
	}
}

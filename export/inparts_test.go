package export_test

import (
	"slices"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/exporttest"
	"eisft/export/host"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/export/tflite/litert/litertest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
)

// rows are the logits of the last token of a few calls.
func rows(t *testing.T, dir, precision string, m *model.Model) [][]float32 {
	t.Helper()
	loaded, err := host.Open(dir, host.Options{Precision: precision})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = loaded.Close() }()
	st, err := loaded.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	var all [][]float32
	ids := modeltest.Tokens(m, 40)
	for _, call := range [][]int32{ids[:31], ids[31:32], ids[32:39], ids[39:]} {
		logits, err := st.Read(t.Context(), call, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, logits)
	}
	return all
}

func sameRows(t *testing.T, precision string, got, want [][]float32) {
	t.Helper()
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("%s, call %d: other logits in parts", precision, i)
		}
	}
}

// TestParts: in parts, the graphs give the very logits that they give in one, and check holds
// each part to the manifest and all of them to the quantized model.
func TestParts(t *testing.T) {
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	for name, tc := range map[string]struct {
		parts  int
		scheme string
		change func(*export.Options)
		files  []string
	}{
		"embeddings": {3, "w8a16", nil, []string{
			"4t17c-part1.onnx", "4t17c-part2.onnx", "4t17c-part3.onnx", "4t17c-w8a16-part1.onnx", "4t17c-w8a16-part2.onnx", "4t17c-w8a16-part3.onnx",
			"1t17c-part1.onnx", "1t17c-part2.onnx", "1t17c-part3.onnx", "1t17c-w8a16-part1.onnx", "1t17c-w8a16-part2.onnx", "1t17c-w8a16-part3.onnx",
			"commit-4t.onnx", "commit-4t-w8a16.onnx",
		}},
		"ids, residual stream in float": {4, "w8a16-mixed", func(o *export.Options) { o.Inputs, o.QuantizedOnly = lower.InputIDs, true }, nil},
		"ids in two":                    {2, "w8a16", func(o *export.Options) { o.Inputs = lower.InputIDs }, nil},
		"no logits": {3, "", func(o *export.Options) {
			o.Logits, o.Precisions = lower.LogitsNone, []export.Precision{export.Float32, export.Float16}
		}, []string{
			"4t17c-part1.onnx", "4t17c-part2.onnx", "4t17c-float16-part1.onnx", "4t17c-float16-part2.onnx",
			"1t17c-part1.onnx", "1t17c-part2.onnx", "1t17c-part3.onnx", "1t17c-float16-part1.onnx", "1t17c-float16-part2.onnx", "1t17c-float16-part3.onnx",
			"commit-4t.onnx", "commit-4t-float16.onnx",
		}},
		"encodings": {2, "w8a8", func(o *export.Options) { o.Format, o.QuantizedOnly = export.FormatEncodings, true }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			if tc.scheme != "" {
				o.Quantized = exporttest.QuantizedAs(t, m, exporttest.Scheme(t, tc.scheme, "generic"))
			}
			if tc.change != nil {
				tc.change(&o)
			}
			o.Parts, o.NoVerify = tc.parts, name != "embeddings"
			inParts, info := exported(t, m, o)
			o.Parts, o.NoVerify = 0, true
			whole, _ := exported(t, m, o)
			if got := info.GraphFiles(); tc.files != nil && !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(tc.files))) {
				t.Errorf("files %v, want %v", got, tc.files)
			}
			for _, g := range info.Graphs {
				if g.Kind == "generation" && len(g.Parts) != tc.parts || g.Kind == "commit" && len(g.Parts) != 1 {
					t.Errorf("%s has %d parts", g.Name, len(g.Parts))
				}
			}
			for _, precision := range info.Precisions() {
				if precision != manifest.Float16 { // whose numbers between ops are float32 in ONNX Runtime, but for ports
					sameRows(t, precision, rows(t, inParts, precision, m), rows(t, whole, precision, m))
				}
			}
			if o.Quantized == nil {
				return
			}
			for i, w := range o.Quantized.Weights {
				if strings.HasSuffix(w.Name, "lm_head") {
					o.Quantized.Weights[i].Name = "another"
				}
			}
			findings, err := check.Quantized(inParts, o.Quantized)
			if err != nil || len(findings) == 0 {
				t.Errorf("a map too many is not missed: %v, %v", findings, err)
			}
		})
	}
}

// TestSlowPartsInTFLite: each part is a file of its own, and LiteRT runs one after another.
func TestSlowPartsInTFLite(t *testing.T) {
	testfiles.Slow(t)
	litertest.Require(t)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := inTFLite(t, m, "w8a16")
	o.NoVerify, o.QuantizedOnly = true, true
	whole, _ := exported(t, m, o)
	o.Parts = 3
	dir, info := exported(t, m, o)
	sameRows(t, "w8a16", rows(t, dir, "w8a16", m), rows(t, whole, "w8a16", m))
	validate(t, dir)
	want := []string{"model-w8a16-part1.tflite", "model-w8a16-part2.tflite", "model-w8a16-part3.tflite"}
	if got := info.TFLiteFiles(); !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

func TestPartsRefused(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	for parts, want := range map[int]string{-1: "there cannot be -1 parts: want at least 1", 4: "there cannot be 4 parts: want at least 1, and at most 3, one for each of layers and lm_head"} {
		o := options()
		o.Parts = parts
		if _, _, err := export.Export(t.Context(), m, t.TempDir()+"/out", o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d parts: %v, want %q", parts, err, want)
		}
	}
}

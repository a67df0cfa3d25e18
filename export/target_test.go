package export_test

import (
	"path/filepath"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/exporttest"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/model"
	"eisft/quant"
)

// TestTargetQNN: graphs for QNN have their floats in float16 and add masks in pieces that
// the HTP was seen to apply rightly, of one size and of two; they compute what the Go model
// does. Those for any runtime add them at once, which QNN's rule refuses.
func TestTargetQNN(t *testing.T) {
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	m := exporttest.Model(t, exporttest.Block(func(s *model.Spec) { s.Window = 950 }), nil)
	o := options()
	o.Sizes = []export.Size{{Tokens: 128, Cache: 1100}, {Tokens: 131, Cache: 1100}}
	o.Logits, o.Target = lower.LogitsLast, check.QNN
	o.Quantized = exporttest.QuantizedAs(t, m, exporttest.Scheme(t, "w8a16", quant.QNN))
	dir := filepath.Join(t.TempDir(), "out")
	info, report, err := export.Export(t.Context(), m, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		if f.Rule != "float-share" || !strings.HasPrefix(f.Graph, "commit-") { // the memory is float by design
			t.Errorf("finding: %s", f)
		}
	}
	if got := strings.Join(info.Precisions(), " "); got != "float16 w8a16" || info.Target != "qnn" {
		t.Errorf("precisions %s for %s, want float16 and w8a16 for qnn", got, info.Target)
	}
	for _, v := range info.Verification {
		if !v.Passed() {
			t.Errorf("%+v", v)
		}
	}
	if target, err := check.TargetOf(dir); target != check.QNN || err != nil {
		t.Errorf("the folder is for %q (%v)", target, err)
	}

	o.Quantized, o.Target, o.NoVerify = nil, check.Generic, true
	dir, info = exported(t, m, o)
	if got := info.Precisions(); len(got) != 1 || got[0] != manifest.Float {
		t.Errorf("precisions %s for any runtime, want float", got)
	}
	findings, err := check.Path(dir, check.QNN)
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{}
	for _, f := range findings {
		if f.Rule == "mask-bytes" && f.Severity == check.Error {
			refused[f.Graph] = true
		}
	}
	if !refused["128t1100c.onnx"] || !refused["131t1100c.onnx"] || len(refused) != 2 {
		t.Errorf("masks of %v are refused, want those of both prompt graphs", refused)
	}
}

// TestOtherTarget: what was quantized for one target is exported for another only where
// both want the same codes.
func TestOtherTarget(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	quantized := map[string]*quant.Quantized{}
	for _, tc := range []struct {
		scheme, made string
		target       check.Target
		want         string // "" where it is exported
	}{
		{"w8a16", quant.Generic, check.QNN, "the model was quantized as w8a16 for generic, and qnn wants its 16-bit activations unsigned, with a zero point; quantize again for --target qnn"},
		{"w8a16", quant.QNN, check.LiteRT, "the model was quantized as w8a16 for qnn, and litert wants its 16-bit activations signed and symmetric; quantize again for --target litert"},
		{"w8a16", quant.Generic, check.OpenVINO, "scheme w8a16 does not run on openvino, but on generic, qnn, mediatek, litert; openvino runs w4-g32, w4-g64, w4-g128; quantize again by one of these, for --target openvino"},
		{"w8a16", quant.QNN, check.Generic, ""},
		{"w8a16", quant.MediaTek, check.LiteRT, ""},
		{"w8a16", quant.Generic, check.MediaTek, ""},
	} {
		key := tc.scheme + tc.made
		if quantized[key] == nil {
			quantized[key] = exporttest.QuantizedAs(t, m, exporttest.Scheme(t, tc.scheme, tc.made))
		}
		o := options()
		o.Quantized, o.Target, o.QuantizedOnly, o.NoVerify = quantized[key], tc.target, true, true
		_, _, err := export.Export(t.Context(), m, filepath.Join(t.TempDir(), "out"), o)
		if got := ""; err != nil {
			if got = err.Error(); got != tc.want {
				t.Errorf("%s for %s, exported for %s: %q, want %q", tc.scheme, tc.made, tc.target, got, tc.want)
			}
		} else if tc.want != "" {
			t.Errorf("%s for %s is exported for %s, want %q", tc.scheme, tc.made, tc.target, tc.want)
		}
	}
}

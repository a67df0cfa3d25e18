package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
)

// TestRules: every rule says what, why and where from, and can be found by its name.
func TestRules(t *testing.T) {
	// What this project asks of its own folders, and bounds that it chose.
	own := []RuleName{"logits-bytes", RuleManifest, RuleStates, RulePoints, RuleCodes, "float-share"}
	for _, r := range Rules() {
		var b strings.Builder
		if err := r.Explain(&b); err != nil {
			t.Fatal(err)
		}
		if r.What == "" || r.Why == "" || len(r.Sources) == 0 || !strings.Contains(b.String(), r.What) {
			t.Errorf("%s: %+v", r.Name, r)
		}
		for _, s := range r.Sources {
			if s.Title == "" || (s.URL != "") != (s.Date != "") || s.URL != "" && !strings.HasPrefix(s.URL, "https://") {
				t.Errorf("%s: source %+v: want a title, and an address with its date", r.Name, s)
			}
		}
		public := slices.ContainsFunc(r.Sources, func(s Source) bool { return s.URL != "" })
		if ours := slices.Contains(own, r.Name); public == ours {
			t.Errorf("%s: a public source: %t; this project's own choice: %t", r.Name, public, ours)
		}
		if found, err := FindRule(string(r.Name)); err != nil || found.Name != r.Name {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	if _, err := FindRule("mask-byte"); err == nil || !strings.Contains(err.Error(), `did you mean "mask-bytes"?`) {
		t.Errorf("got %v", err)
	}
	r, _ := FindRule("mask-bytes")
	var b strings.Builder
	if err := r.Explain(&b); err != nil || !strings.Contains(b.String(), "mask-bytes (qnn)\n") || !strings.Contains(b.String(), "https://github.com/google-ai-edge/litert-torch/issues/1184 (2026-08-23)\n") {
		t.Errorf("%s (%v)", b.String(), err)
	}
}

// TestCases: graphs that were judged wrongly once.
func TestCases(t *testing.T) {
	for _, c := range []struct {
		file   string
		target Target
		want   string // rule that finds an error; "" for none
	}{
		{"fp16-eps.onnx", Generic, "float16"},
		{"mediatek-uneven-split.onnx", MediaTek, "mediatek-split"},
		{"mediatek-uneven-split.onnx", QNN, ""},
		{"qnn-mask-tiled.onnx", QNN, "mask-bytes"},
		{"qnn-mask-tiled.onnx", LiteRT, ""},
		{"qnn-u16xs16-matmul.onnx", QNN, ""},
		{"qnn-u16xs16-matmul.onnx", MediaTek, "mediatek-16"},
	} {
		path := testfiles.Shared(t, "cases/export/check/"+c.file)
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			t.Skip(err)
		}
		findings, err := Path(path, c.target)
		if err != nil {
			t.Fatal(err)
		}
		var broken []string
		for _, f := range findings {
			if f.Severity == Error {
				broken = append(broken, string(f.Rule))
			}
		}
		if c.want == "" && len(broken) > 0 || c.want != "" && !slices.Contains(broken, c.want) {
			t.Errorf("%s for %s: %v, want %q", c.file, c.target, findings, c.want)
		}
	}
}

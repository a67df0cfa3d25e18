package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"eisft/eval"
	"eisft/export/manifest"
	"eisft/internal/testfiles"
	"eisft/quant"
	"eisft/train/runs"
)

// TestSlowQuickstart goes the quickstart's way, with its configuration and
// data, and holds it to what it promises: facts that left the window are
// recalled, also by the quantized model, and the graphs compute what the Go
// model does.
func TestSlowQuickstart(t *testing.T) {
	testfiles.Slow(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("EISFT_ONNXRUNTIME") == "" { // what setup fetches is found from the checkout only
		t.Setenv("EISFT_ONNXRUNTIME", filepath.Join(root, ".cache", "onnxruntime", "libonnxruntime.so.1"))
	}
	t.Chdir(t.TempDir())
	for _, args := range [][]string{
		{"train", "--config", filepath.Join(root, "configs", "s-sft.yaml")},
		{"quantize", "--calib", filepath.Join(root, "data", "demo", "calib.parquet"), "--eval-samples", "32"},
		{"export", "--shape", "512x2048"},
		{"check", filepath.Join("runs", runs.Latest, "export", "512x2048")},
		{"inspect", filepath.Join("runs", runs.Latest)},
		// Some answers can be guessed: of the window alone, all questions are asked.
		{"eval", "--policy", "window", "--samples", "0", "--json", "window.json"},
	} {
		got := eisft(t, args...)
		t.Logf("eisft %v\n%s%s", args, got.stdout, got.stderr)
		if got.code != 0 {
			t.Fatalf("eisft %v: exit code %d", args, got.code)
		}
	}
	run := filepath.Join("runs", runs.Latest)
	e, err := runs.ReadEvaluation(run)
	if err != nil {
		t.Fatal(err)
	}
	block := e.After[slices.IndexFunc(e.After, func(r *eval.Result) bool { return r.Policy == eval.PolicyEISFT })]
	if got := block.Score(eval.Far).Metrics[eval.MetricExactMatch]; got < 0.65 {
		t.Errorf("far recall of the trained block is %.2f, want at least 0.65", got)
	}
	if got := block.Score(eval.Near).Metrics[eval.MetricExactMatch]; got < 0.8 {
		t.Errorf("near recall of the trained block is %.2f, want at least 0.8", got)
	}
	var window eval.Report
	text, err := os.ReadFile("window.json")
	if err == nil {
		err = json.Unmarshal(text, &window)
	}
	if err != nil {
		t.Fatal(err)
	}
	// As many bytes as the block keeps: a window that reaches a little beyond "far".
	if got := window.Results[0].Score(eval.Far).Metrics[eval.MetricExactMatch]; got > 0.25 {
		t.Errorf("far recall of sinks and window alone is %.2f, want at most 0.25", got)
	}
	report, err := quant.ReadReport(filepath.Join(run, "quant", "w8a16"))
	if err != nil {
		t.Fatal(err)
	}
	if s := report.Evaluation.Scores; s.After.Score(eval.Far).Metrics[eval.MetricExactMatch] < s.Before.Score(eval.Far).Metrics[eval.MetricExactMatch]-0.1 { // 26 questions
		t.Errorf("quantization lost more than 0.1 of far recall: %.2f before, %.2f after", s.Before.Score(eval.Far).Metrics[eval.MetricExactMatch], s.After.Score(eval.Far).Metrics[eval.MetricExactMatch])
	}
	m, err := manifest.Read(filepath.Join(run, "export", "512x2048"))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Verification) == 0 {
		t.Error("the graphs were not compared with the Go model: is ONNX Runtime there?")
	}
}

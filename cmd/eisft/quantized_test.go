package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/model"
	"eisft/train/runs"
)

// TestTrainFromQuantized: a run that is trained beside a quantized model belongs to the same
// base, says which folder it was, and every command says what it pairs with.
func TestTrainFromQuantized(t *testing.T) {
	t.Chdir(trainingFolder(t, 1))
	wantOutput(t, "", "train", "--config", "s.yaml")
	plain := adapter(t, ".")
	wantOutput(t, "", "quantize", "--calib", "train.jsonl", "--samples", "2")
	folder, err := filepath.EvalSymlinks(filepath.Join("runs", "s", "quant", "w8a16"))
	if err != nil {
		t.Fatal(err)
	}
	wantOutput(t, "", "train", "--config", "s.yaml", "--from-quantized", "w8a16")
	beside := adapter(t, ".")
	if bytes.Equal(beside, plain) {
		t.Error("training beside the quantized base gives what training beside the float base gives")
	}
	run, err := runs.Open(latestRun)
	if err != nil {
		t.Fatal(err)
	}
	section := run.Config.Model.Quantized
	if want, _ := filepath.Abs(folder); section.Folder != want || len(section.SHA256) != 64 {
		t.Errorf("the run was trained beside %+v, want %s", section, want)
	}
	float, err := model.ReadAdapter(filepath.Join("runs", "s"))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := model.ReadAdapter(latestRun); err != nil || a.BaseID != float.BaseID {
		t.Errorf("the adapter belongs to %v (%v), want %s", a, err, float.BaseID)
	}

	wantOutput(t, "reads with the quantized model that it was trained beside", "eval", "--data", "train.jsonl", "--samples", "1", "--policy", "eisft", "--max-new-tokens", "2")
	wantOutput(t, "reads here with the float weights", "generate", "--prompt", "Anna:", "--max-new-tokens", "2")
	wantOutput(t, "these are the weights that", "quantize", "--calib", "train.jsonl", "--samples", "2")
	wantOutput(t, "these are the weights that", "export", "--shape", "32x128", "--verify=false", "--quantized-only")

	// The newest run has no quantized model of the scheme when training starts anew: that
	// which it was trained beside is meant.
	if err := os.RemoveAll(filepath.Join(latestRun, "quant")); err != nil {
		t.Fatal(err)
	}
	wantOutput(t, "", "train", "--config", "s.yaml", "--from-quantized", "w8a16")
	if !bytes.Equal(adapter(t, "."), beside) {
		t.Error("the same codes train another adapter")
	}
	wantOutput(t, "", "train", "--config", "s.yaml", "--from-quantized", folder)

	// Codes that are not what they were are not paired with.
	encodings := filepath.Join(folder, "encodings.json")
	text, err := os.ReadFile(encodings)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, encodings, string(text)+"\n")
	wantOutput(t, "is not there as it was: its sha256 was", "eval", "--data", "train.jsonl", "--samples", "1", "--policy", "eisft", "--max-new-tokens", "2")
	writeFile(t, encodings, strings.Replace(string(text), `"base_identity": "`, `"base_identity": "2-0`, 1))
	if r := eisft(t, "train", "--config", "s.yaml", "--from-quantized", folder); r.code != exitError || !strings.Contains(r.stderr, "model.quantized: ") || !strings.Contains(r.stderr, "the quantized base was another one") {
		t.Errorf("codes of another base: exit code %d, stderr %q", r.code, r.stderr)
	}
	for name, want := range map[string]string{
		"w8a61":  `eisft: --from-quantized is "w8a61"; did you mean "w8a16"?`,
		"./none": "there is no quantized model in",
	} {
		if r := eisft(t, "train", "--config", "s.yaml", "--from-quantized", name); r.code == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: exit code %d, stderr %q, want %q", name, r.code, r.stderr, want)
		}
	}
}

// wantOutput runs a command line that must succeed and say something on stderr.
func wantOutput(t *testing.T, want string, args ...string) {
	t.Helper()
	if r := eisft(t, args...); r.code != 0 || !strings.Contains(r.stderr, want) {
		t.Fatalf("%v: exit code %d, stderr %q, want %q in it", args, r.code, r.stderr, want)
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export/manifest"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
)

// TestExportCheckRun: what export writes passes the check, and answers with the tokens
// of the Go model.
func TestExportCheckRun(t *testing.T) {
	orttest.Require(t)
	runFolder(t)
	out := filepath.Join("runs", "latest", "export", "32x84") // the run's own sizes
	r := eisft(t, "export", "--shape", "32x84")
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	for _, want := range []string{
		out + ":\n32x84: 32 new tokens beside a cache of 84: 4 sinks, 16 slots, a window of 32, a segment of 32\n",
		"\n32t84c.onnx ", "\n1t84c.onnx ", "\ncommit-32t.onnx ", "\nweights.bin ", "\nembeddings.safetensors ", "\ntokenizer.json ",
		"\n32x84  float ",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	info, err := manifest.Read(out)
	if err != nil || info.Model != "s" || len(info.Verification) != 1 || info.Verification[0].MaxLogitError > 1e-3 {
		t.Errorf("manifest %+v (%v)", info, err)
	}
	if r := eisft(t, "check", out); r.code != 0 || !strings.Contains(r.stdout, "\n32x84  float ") {
		t.Errorf("check: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if r := eisft(t, "check", "--explain", "mask-bytes"); r.code != 0 || !strings.HasPrefix(r.stdout, "mask-bytes (qnn)\n") || !strings.Contains(r.stdout, "https://github.com/google-ai-edge/litert-torch/issues/1184 (2026-08-23)\n") {
		t.Errorf("explain: %+v", r)
	}
	if r := eisft(t, "check", "--rules"); r.code != 0 || !strings.Contains(r.stdout, "\nmediatek-split ") {
		t.Errorf("rules: %+v", r)
	}
	text, question, _ := goldenPrompt(t)
	arguments := []string{"--prompt", text + "\n\n" + question, "--max-new-tokens", "8"}
	want := eisft(t, append([]string{"generate"}, arguments...)...)
	got := eisft(t, append([]string{"run", "--graph", out}, arguments...)...)
	if got.code != 0 || got.stdout != want.stdout || len(got.stdout) < 2 {
		t.Errorf("the graphs answer %q (exit code %d, %s), the Go model %q", got.stdout, got.code, got.stderr, want.stdout)
	}
	if !strings.Contains(got.stderr, "first token after ") || !strings.Contains(got.stderr, " tokens/s, of ") {
		t.Errorf("no time to first token and tokens/s in %q", got.stderr)
	}
}

func TestExportErrors(t *testing.T) {
	runFolder(t)
	taken := t.TempDir()
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string // start of stderr
	}{
		{"no shape", []string{"export"}, exitUsage, "eisft: --shape is required, such as --shape 512x2048, or --scenario with --device\n"},
		{"shape", []string{"export", "--shape", "512*2048"}, exitUsage, `eisft: --shape "512*2048": want TxC`},
		{"shape and scenario", []string{"export", "--shape", "32x84", "--scenario", "chat", "--device", "apple-m4"}, exitUsage, "eisft: --shape and --scenario both choose a shape"},
		{"scenario alone", []string{"export", "--scenario", "chat"}, exitUsage, "eisft: --scenario and --device go together"},
		{"device alone", []string{"export", "--shape", "32x84", "--device", "apple-m4"}, exitUsage, "eisft: --scenario and --device go together"},
		{"no device", []string{"export", "--scenario", "chat", "--device", "none"}, exitError, "eisft: "},
		{"cache too small", []string{"export", "--shape", "32x60"}, exitError, "eisft: shape 32x60 does not fit: a cache of 60 must hold 4 sinks, a window of 32, a segment of 32 and at least one slot, 69 in all; want 32x69 or larger, or at most 23x60\n"},
		{"no run", []string{"export", "--shape", "32x84", "--run", "none"}, exitError, "eisft: there is no run none; train one"},
		{"no adapter", []string{"export", "--shape", "32x84", "--run", taken}, exitError, "eisft: run " + taken + ": "},
		{"folder exists", []string{"export", "--shape", "32x84", "--out", taken}, exitError, "eisft: the folder exists: " + taken},
		{"no quantized model", []string{"export", "--shape", "32x84", "--quant", taken}, exitError, "eisft: there is no quantized model in " + taken},
		{"quantized alone", []string{"export", "--shape", "32x84", "--quantized-only"}, exitError, "eisft: there is no quantized model to export alone"},
		{"inputs", []string{"export", "--shape", "32x84", "--inputs", "text"}, exitUsage, `eisft: --inputs is "text"; it must be one of embeds, ids`},
		{"logits", []string{"export", "--shape", "32x84", "--logits", "some"}, exitUsage, `eisft: --logits is "some"; it must be one of all, last, none`},
		{"check nothing", []string{"check"}, exitUsage, "eisft: name one exported folder, or an .onnx or .tflite file\n"},
		{"check an empty folder", []string{"check", taken}, exitError, "eisft: " + taken + ": there is no .onnx file in it\n"},
		{"target", []string{"check", "--target", "npu", taken}, exitUsage, `eisft: --target is "npu"; it must be one of generic, qnn, mediatek, litert, openvino, coreml`},
		{"parts", []string{"export", "--shape", "32x84", "--parts", "0"}, exitUsage, "eisft: --parts is 0; it must be at least 1\n"},
		{"parts too many", []string{"export", "--shape", "32x84", "--parts", "99"}, exitError, "eisft: there cannot be 99 parts: want at least 1, and at most "},
		{"precision", []string{"export", "--shape", "32x84", "--precision", "half"}, exitUsage, `eisft: --precision is "half"; it must be one of float32, float16`},
		{"embeddings", []string{"export", "--shape", "32x84", "--embeddings", "int9"}, exitUsage, `eisft: --embeddings is "int9"; did you mean "int8"?`},
		{"format", []string{"export", "--shape", "32x84", "--format", "onnx"}, exitUsage, `eisft: --format is "onnx"; did you mean "onnx-qdq"?`},
		{"export target", []string{"export", "--shape", "32x84", "--target", "qn"}, exitUsage, `eisft: --target is "qn"; did you mean "qnn"?`},
		{"explain", []string{"check", "--explain", "mask-byte"}, exitUsage, `eisft: --explain: rule is "mask-byte"; did you mean "mask-bytes"?`},
		{"run nothing", []string{"run", "--prompt", "x"}, exitUsage, "eisft: --graph is required\n"},
		{"run no export", []string{"run", "--graph", taken, "--prompt", "x"}, exitError, "eisft: " + filepath.Join(taken, manifest.Name) + ": no such file or directory"},
		{"run without a prompt", []string{"run", "--graph", taken}, exitUsage, "eisft: there is no prompt"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if r := eisft(t, tc.args...); r.code != tc.code || !strings.HasPrefix(r.stderr, tc.want) || r.stdout != "" {
				t.Errorf("exit code %d, stderr %q, stdout %q; want %d and %q", r.code, r.stderr, r.stdout, tc.code, tc.want)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(latestRun, "export")); !os.IsNotExist(err) {
		t.Errorf("a failed export left its folder (%v)", err)
	}
}

// TestExportUnverified: without ONNX Runtime an export is written all the same, and
// says that it was not compared.
func TestExportUnverified(t *testing.T) {
	runFolder(t)
	if r := eisft(t, "export", "--shape", "32x84", "--verify=false"); r.code != 0 || !strings.Contains(r.stdout, "\nNot compared with the Go model: the comparison was switched off\n") {
		t.Errorf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	cmd := process(t.Context(), t, "export", "--shape", "32x100")
	cmd.Env = append(cmd.Env, "EISFT_ONNXRUNTIME=/no/library")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nNot compared with the Go model: EISFT_ONNXRUNTIME: stat /no/library: no such file or directory\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestSlowCheckCodes: check compares quantized graphs with the run's quantized model, or with
// the one that --quant names where the folder lies in no run.
func TestSlowCheckCodes(t *testing.T) {
	testfiles.Slow(t)
	runFolder(t)
	quantize := func(more ...string) {
		t.Helper()
		if r := eisft(t, append([]string{"quantize", "--calib", "train.jsonl", "--samples", "2", "--eval-data", "held.jsonl", "--eval-samples", "1"}, more...)...); r.code != 0 {
			t.Fatalf("exit code %d: %s", r.code, r.stderr)
		}
	}
	quantize()
	out, model := t.TempDir(), filepath.Join(latestRun, "quant", "w8a16")
	if r := eisft(t, "export", "--shape", "32x84", "--quantized-only", "--verify=false", "--golden=false", "--replace", "--out", out); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	for _, args := range [][]string{{"check", out}, {"check", "--quant", "none", out}, {"check", "--quant", model, out}, {"check", "--run", latestRun, "--quant", "w8a16", out}} {
		if r := eisft(t, args...); r.code != 0 {
			t.Errorf("%v: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	r := eisft(t, "check", "--run", latestRun, "--quant", "w8a61", out)
	if r.code != exitUsage || !strings.Contains(r.stderr, `--quant is "w8a61"; did you mean "w8a16"?`) {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
	quantize("--range", "percentile")
	r = eisft(t, "check", "--quant", model, out)
	if r.code != exitError || !strings.Contains(r.stdout, "scale is ") || !strings.Contains(r.stderr, "as in the quantized model") {
		t.Errorf("exit code %d, stderr %q, stdout %.300s; want scales that differ", r.code, r.stderr, r.stdout)
	}
}

package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/eval"
	"eisft/export/manifest"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
)

// TestSlowEvalGraph: float graphs score as the model does in the sizes of their shape, in the
// evaluations of the run that they lie in; graphs of another model are refused.
func TestSlowEvalGraph(t *testing.T) {
	testfiles.Slow(t)
	orttest.Require(t)
	runFolder(t)
	r := eisft(t, "export", "--shape", "32x84", "--shape", "32x100", "--verify=false", "--golden=false", "--out", latestRun+"/export/a")
	if want := "warning: shape 32x100 reads with 32 slots, not 16, with which the run was trained: "; r.code != 0 || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "shape 32x84 reads") {
		t.Fatalf("exit code %d, %s; want %q", r.code, r.stderr, want)
	}
	for _, args := range [][]string{
		{"export", "--shape", "32x84", "--shape", "32x100", "--verify=false", "--golden=false", "--eval-samples", "1", "--eval-data", "train.jsonl", "--out", latestRun + "/export/e"},
		{"eval", "--graph", latestRun + "/export/e", "--shape", "32x100", "--data", "train.jsonl", "--samples", "1", "--json", "e.json"},
	} {
		if r := eisft(t, args...); r.code != 0 {
			t.Fatalf("%v: exit code %d, %s", args, r.code, r.stderr)
		}
	}
	text, err := os.ReadFile("e.json")
	if err != nil {
		t.Fatal(err)
	}
	var found eval.Report
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Results) != 2 {
		t.Fatalf("%s", text)
	}
	a, b := found.Results[0], found.Results[1]
	if a.Policy != eval.PolicyEISFT || b.Policy != eval.PolicyGraph || math.Abs(a.Answers[0].NLL-b.Answers[0].NLL) > 1e-2 || a.Answers[0].Text != b.Answers[0].Text {
		t.Errorf("%s", text)
	}
	if want := 8 * (100 - 32); b.Budget.Tokens != want { // of eight layers
		t.Errorf("%d tokens are kept, want the %d of the shape", b.Budget.Tokens, want)
	}
	if dir := filepath.Join(latestRun, "evals", "train-32x100-float"); !exists(dir) {
		t.Errorf("there is no %s", dir)
	}
	info, err := manifest.Read(latestRun + "/export/e")
	if err != nil {
		t.Fatal(err)
	}
	if e := info.Evaluated; len(e) != 2 || e[1].Shape != "32x100" || math.Abs(e[1].Scores[0].Perplexity-a.Scores[0].Perplexity) > 1e-6 {
		t.Errorf("the manifest has %+v", e)
	}
	if r := eisft(t, "inspect", latestRun+"/export/e"); r.code != 0 || !strings.Contains(r.stdout, "the model in the sizes of the shapes") {
		t.Errorf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	edit(t, latestRun+"/export/e/manifest.json", `"trained_identity": "`, `"trained_identity": "0`)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--graph", latestRun + "/export/e"}, exitError, "was exported from another model than that of"},
		{[]string{"--graph", latestRun + "/export/e", "--shape", "1x1"}, exitError, `there is no shape "1x1"; the folder has 32x84, 32x100`},
		{[]string{"--graph", latestRun + "/export/e", "--config", "s.yaml"}, exitUsage, "--graph and --config exclude each other"},
	} {
		if r := eisft(t, append([]string{"eval", "--data", "train.jsonl"}, c.args...)...); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%v: exit code %d, %s", c.args, r.code, r.stderr)
		}
	}
}

// TestEvalGraphErrors: wrong command lines.
func TestEvalGraphErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--shape", "32x84"}, exitUsage, "--shape is for exported graphs; name their folder with --graph"},
		{[]string{"--precision", "float"}, exitUsage, "--precision is for exported graphs"},
		{[]string{"--graph", "x", "--budget", "100"}, exitUsage, "--graph and --budget exclude each other"},
		{[]string{"--graph", t.TempDir()}, exitError, "manifest.json"},
	} {
		if r := eisft(t, append([]string{"eval"}, c.args...)...); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%v: exit code %d, %s", c.args, r.code, r.stderr)
		}
	}
}

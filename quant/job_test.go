package quant

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"eisft/data"
	"eisft/eval"
)

// demoJob calibrates and evaluates on one short sample each.
func demoJob(t testing.TB) *Job {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "data.jsonl")
	row, err := json.Marshal(map[string]any{
		"context": strings.Repeat("Anna takes the blue folder to the station. ", 12),
		"input":   "Question: Where is the folder?", "answers": []string{"At the station."},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, row, 0o666); err != nil {
		t.Fatal(err)
	}
	tk, tpl := demoTokenizer(t)
	return &Job{
		Model: demoModel(t), Tokenizer: tk, Template: tpl, Scheme: schemes.Get("w8a16"), Range: RangeMinMax,
		Calibration: File{Path: path}, Evaluation: File{Path: path}, MaxNewTokens: 4,
		Dir: filepath.Join(dir, "quant", "w8a16"),
	}
}

func TestJob(t *testing.T) {
	j := demoJob(t)
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q, err := Load(j.Dir)
	if err != nil {
		t.Fatal(err)
	}
	faked, wrap, err := Apply(j.Model, q)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := j.questions()
	if err != nil {
		t.Fatal(err)
	}
	after, err := j.score(t.Context(), "again", faked, wrap, samples)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := after.Score(eval.All), r.Evaluation.Scores.After.Score(eval.All); got != want {
		t.Errorf("the loaded model scores %+v, the report says %+v", got, want)
	}
	if before, after := r.Evaluation.Scores.Before.Score(eval.All).NLL, after.Score(eval.All).NLL; before == after || after > 1.1*before+0.1 {
		t.Errorf("NLL %g before and %g after", before, after)
	}
	// 7.3 M parameters: bf16 before; after, the 6.3 M of the layers and the 1 M of
	// the head take a byte each, and the embedding table stays
	if r.Size.After < 9_400_000 || r.Size.After > 10_500_000 || r.Size.Before < 14_600_000 || r.Size.Before > 15_600_000 {
		t.Errorf("size %+v", r.Size)
	}
	wantReport(t, j.Dir, r)
}

// wantReport checks the report's files.
func wantReport(t *testing.T, dir string, r *Report) {
	t.Helper()
	if got, err := ReadReport(dir); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%s (%v) holds another report than Run returned", ReportFile, err)
	}
	page, err := os.ReadFile(filepath.Join(dir, PageFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"perplexity of the answers", "model.layers.7.mlp.down_proj", "lm_head:out", "max|w|/127 per row", "<polyline", `class="bar"`, r.Calibration.Hash,
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%s does not contain %s", PageFile, want)
		}
	}
	for _, bad := range []string{"http:", "https:", "NaN", "ZgotmplZ", "%!"} {
		if strings.Contains(string(page), bad) {
			t.Errorf("%s contains %s", PageFile, bad)
		}
	}
}

// TestJobStopped: a cancelled job leaves what was there.
func TestJobStopped(t *testing.T) {
	j := demoJob(t)
	if err := os.MkdirAll(j.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(j.Dir, "old")
	if err := os.WriteFile(old, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	entries, err := os.ReadDir(filepath.Dir(j.Dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
	if _, err := os.Stat(old); err != nil {
		t.Error(err)
	}
}

func TestJobErrors(t *testing.T) {
	for _, tc := range []struct {
		name, rows string
		want       string
	}{
		{"empty", "", "no rows"},
		{"column missing", `{"context": "a", "answers": ["b"]}`, "input"},
		{"short", `{"context": "a", "input": "b", "answers": ["c"]}`, "none of 1 samples has a context that fills a segment of 32 tokens"},
		{"no answer", `{"context": "a", "input": "b", "answers": []}`, "data.jsonl:line 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := demoJob(t)
			j.Evaluation.Path = ""
			if err := os.WriteFile(j.Calibration.Path, []byte(tc.rows), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := j.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), j.Calibration.Path) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want the file's name and %s", err, tc.want)
			}
			if _, err := os.Stat(filepath.Dir(j.Dir)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was written (%v)", err)
			}
		})
	}
	j := demoJob(t)
	j.Calibration.Path += ".parquet"
	if _, err := j.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want os.ErrNotExist", err)
	}
	j.Evaluation.Options = data.Options{Columns: data.Columns{Context: "document"}}
	if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "document") {
		t.Errorf("error %v, want the missing column", err)
	}
}

package quant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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
		Model: demoModel(t), Tokenizer: tk, Template: tpl, Recipe: &Recipe{Name: "w8a16", Scheme: "w8a16", Ranges: RangeMinMax, Weights: RoundNearest},
		Calibration: data.Set{Files: data.One(path)}, Evaluation: eval.Config{Data: data.One(path), MaxNewTokens: 4},
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
	rows, err := j.heldOut(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after, err := j.answers(t.Context(), "again", faked, wrap, rows.questions())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := after.Score(eval.All), r.Evaluation.Scores.After.Score(eval.All); !reflect.DeepEqual(got, want) {
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

// TestJobTwice: two jobs that write one folder would take each other's weights away, and the later
// one says so before it begins.
func TestJobTwice(t *testing.T) {
	j := demoJob(t)
	j.Evaluation = eval.Config{}
	again := *j
	again.Progress = nil
	var second error
	j.Progress = writerFunc(func(p []byte) {
		if second == nil {
			_, second = again.Run(t.Context())
			if second == nil {
				second = errors.New("nil")
			}
		}
	})
	if _, err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second == nil || !strings.Contains(second.Error(), j.Dir+" is being written") {
		t.Errorf("the second job: %v", second)
	}
	entries, err := os.ReadDir(filepath.Dir(j.Dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// answered is a result of one question a conversation, with these distances and scores.
func answered(distances []int, em ...float64) *eval.Result {
	r := &eval.Result{Bounds: eval.Bounds{NearBelow: 256, FarAbove: 512}}
	for i, v := range em {
		r.Answers = append(r.Answers, eval.Answer{
			Where: fmt.Sprint(i / 2), Turn: i % 2, Distance: distances[i], NLL: 2 - v, Tokens: 2,
			Metrics: eval.Figures{eval.MetricExactMatch: v, eval.MetricF1: v},
		})
	}
	for _, b := range []eval.Bucket{eval.Far, eval.All} {
		r.Scores = append(r.Scores, eval.Score{Bucket: b})
	}
	return r
}

// TestComparisons: means are of questions, intervals of conversations, and differences are
// paired.
func TestComparisons(t *testing.T) {
	distances := []int{600, 10, 700, 20}
	e := &Evaluation{Scores: Change[*eval.Result]{answered(distances, 1, 1, 1, 0), answered(distances, 1, 1, 0, 0)}}
	e.compare(textLosses{
		Before: []eval.TextLoss{{NLL: 50, Tokens: 100}, {NLL: 150, Tokens: 100}, {}},
		After:  []eval.TextLoss{{NLL: 51, Tokens: 100}, {NLL: 151, Tokens: 100}, {}},
	})
	text := e.Compared("perplexity/text")
	if text == nil || text.N != 200 || text.Rows != 2 || math.Abs(text.Change.Before.Value-math.E) > 1e-9 ||
		math.Abs(text.Difference.Value-math.Expm1(0.01)) > 1e-9 || math.Abs(text.Difference.Hi-text.Difference.Lo) > 1e-9 {
		t.Errorf("text: %+v", text)
	}
	far := e.Compared("em/far")
	if far == nil || far.N != 2 || far.Rows != 2 || far.Change.Before.Value != 1 || far.Change.After.Value != 0.5 || far.Difference.Value != -0.5 || far.Difference.Lo != -1 || far.Difference.Hi != 0 {
		t.Errorf("far: %+v", far)
	}
	all := e.Compared("em/all")
	if all == nil || all.N != 4 || all.Rows != 2 || all.Change.Before.Value != 0.75 || all.Difference.Value != -0.25 {
		t.Errorf("all: %+v", all)
	}
	answers := e.Compared("perplexity/answers")
	if answers == nil || answers.N != 8 || math.Abs(answers.Change.Before.Value-math.Exp(5.0/8)) > 1e-9 || math.Abs(answers.Change.After.Value-math.Exp(6.0/8)) > 1e-9 {
		t.Errorf("answers: %+v", answers)
	}
}

// TestWriteTable prints every comparison, its interval and the steps of an ablation.
func TestWriteTable(t *testing.T) {
	interval := func(v, lo, hi float64) eval.Estimate {
		return eval.Estimate{Value: v, Interval: eval.Interval{Lo: lo, Hi: hi}}
	}
	r := &Report{
		Scheme: Scheme{Name: "w8a16"}, Size: Change[int]{15_500_000, 10_300_000},
		Evaluation: &Evaluation{Comparisons: []Comparison{
			{What: "perplexity of the text", Unit: UnitPerplexity, N: 12345, Rows: 9, Change: Change[eval.Estimate]{interval(2, 1.9, 2.1), interval(2.01, 1.9, 2.1)}, Difference: interval(0.005, 0.004, 0.006)},
			{What: "exact match, far: > 512 tokens back", Unit: UnitShare, N: 3, Rows: 3, Change: Change[eval.Estimate]{interval(0.5, 0, 1), interval(0.25, 0, 1)}, Difference: interval(-0.25, -0.5, 0)},
			{What: "exact match, all", Unit: UnitShare, N: 1, Rows: 1, Change: Change[eval.Estimate]{interval(1, 0, 0), interval(1, 0, 0)}},
		}},
		Ablation: &Ablation{Steps: []AblationStep{
			{What: "rtn", Perplexity: interval(2.2, 2, 2.4), Increase: interval(0.1, 0.09, 0.11)},
			{What: "+ gptq", Perplexity: interval(2.1, 2, 2.2), Increase: interval(0.05, 0.04, 0.06), Gain: interval(0.05, 0.04, 0.06)},
		}},
	}
	var out strings.Builder
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	if want := `w8a16                                              before   after    change   95 % interval
perplexity of the text (12,345 tokens)             2.000    2.010    +0.50 %  +0.40 to +0.60 %
exact match, far: > 512 tokens back (3 questions)  0.500    0.250    -0.250   none, of 3 conversations
exact match, all (1 questions)                     1.000    1.000    +0.000   none, of 1 conversation
size                                               15.5 MB  10.3 MB  -33.55 %

method  perplexity  increase  95 % interval
rtn     2.200       +10.00 %  +9.00 to +11.00 %
+ gptq  2.100       +5.00 %   +4.00 to +6.00 %
`; out.String() != want {
		t.Errorf("table\n%swant\n%s", out.String(), want)
	}
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
		"exact match, all (1 questions)", "F1, all (1 questions)", "perplexity of the answers", "model.layers.7.mlp.down_proj", "lm_head:out", "max|w|/127 per row", "<polyline", `class="bar"`, r.Calibration.Hash,
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
	old := filepath.Join(j.Dir, WeightsFile)
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

// TestJobOutput: a folder that may not or cannot be written is found before the work.
func TestJobOutput(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    string
	}{
		"somebody's file": {func(dir string) error {
			return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644))
		}, "notes.txt in it was not written by eisft quantize; move it away"},
		"a file in its place": {func(dir string) error {
			return errors.Join(os.MkdirAll(filepath.Dir(dir), 0o755), os.WriteFile(dir, nil, 0o644))
		}, "not a directory"},
		"a file above": {func(dir string) error { return os.WriteFile(filepath.Dir(dir), nil, 0o644) }, "not a"},
	} {
		j := demoJob(t)
		j.Calibration.Files = data.One("gone.jsonl") // the work would begin with it
		if err := c.prepare(j.Dir); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Dir(j.Dir)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestJobHeldOut: what the model was trained on says nothing of what quantization costs, and
// several files are read a row of each in turn.
func TestJobHeldOut(t *testing.T) {
	row := func(text string, n int) string {
		return fmt.Sprintf(`{"context": "%s", "input": "Question: Where is the folder?", "answers": ["At the station."]}`+"\n", strings.Repeat(text+" takes the blue folder to the station. ", n))
	}
	j := demoJob(t)
	dir := t.TempDir()
	file := func(name string, rows ...string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(rows, "")), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second := file("1.jsonl", row("Anna", 12), row("Bert", 12)), file("2.jsonl", row("Carl", 12), row("Dora", 12))
	trained := first
	j.Evaluation.Data = data.Files{{Path: first}, {Path: second}}
	j.Trained = func(context.Context) (*data.Source, error) { return data.Open(trained, data.Options{}) }
	where := func() (list []string) {
		h, err := j.heldOut(t.Context())
		if err != nil {
			return []string{err.Error()}
		}
		for _, r := range h.rows {
			list = append(list, strings.TrimPrefix(r.Where, dir+"/"))
		}
		return list
	}
	said := &strings.Builder{}
	j.Progress = said
	if got := where(); !slices.Equal(got, []string{"2.jsonl:line 1", "2.jsonl:line 2"}) || !strings.Contains(said.String(), "eisft: 2 of 4 rows of "+first+", "+second+" are left out of the evaluation, since the run was trained on their texts\n") {
		t.Errorf("%q, %s", got, said)
	}
	j.Evaluation.Data = data.One(first)
	if got := where(); len(got) != 1 || !strings.Contains(got[0], "the run was trained on the texts of all its 2 rows") {
		t.Errorf("%q", got)
	}
	trained = filepath.Join(dir, "gone.jsonl")
	if got := where(); len(got) != 2 || !strings.Contains(said.String(), "it cannot be told whether rows of "+first+" were trained on: ") {
		t.Errorf("%q, %s", got, said)
	}
	j.Trained, j.Evaluation.Data = nil, data.Files{{Path: first}, {Path: second}}
	if got := where(); !slices.Equal(got, []string{"1.jsonl:line 1", "2.jsonl:line 1", "1.jsonl:line 2", "2.jsonl:line 2"}) {
		t.Errorf("%q", got)
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
			j.Evaluation.Data = nil
			if err := os.WriteFile(j.Calibration.Files.String(), []byte(tc.rows), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := j.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), j.Calibration.Files.String()) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want the file's name and %s", err, tc.want)
			}
			if _, err := os.Stat(filepath.Dir(j.Dir)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was written (%v)", err)
			}
		})
	}
	j := demoJob(t)
	j.Calibration.Files = data.One(j.Calibration.Files.String() + ".parquet")
	if _, err := j.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want os.ErrNotExist", err)
	}
	j.Evaluation.Options = data.Options{Columns: data.Columns{Context: "document"}}
	if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "document") {
		t.Errorf("error %v, want the missing column", err)
	}
}

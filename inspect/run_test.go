package inspect_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/data"
	"eisft/eval"
	"eisft/export"
	"eisft/export/lower"
	"eisft/inspect"
	"eisft/quant"
	"eisft/train"
	"eisft/train/config"
	"eisft/train/runs"
)

// tinyRun trains a block on the demo base for a step and returns the run.
func tinyRun(t *testing.T) (run *runs.Run, chats string) {
	t.Helper()
	dir := t.TempDir()
	base, err := filepath.Abs(demoBase)
	if err != nil {
		t.Fatal(err)
	}
	chat := `{"messages":[{"role":"user","content":"` + strings.Repeat("The garage code is 4711. ", 8) + `"},{"role":"assistant","content":"It is 4711."}]}` + "\n"
	chats = filepath.Join(dir, "chats.jsonl")
	write(t, chats, strings.Repeat(chat, 2))
	text := fmt.Sprintf(`
name: tiny
model: {path: %q}
block: {sink: 2, window: 16, segment: 16, slots: 8}
data: {train: chats.jsonl}
stages: [{kind: distill, steps: 1, batch: 1, tokens: 64}, {kind: s-sft, steps: 1, batch: 1}]
eval: {data: chats.jsonl, samples: 1, max_new_tokens: 2}
output: %q
`, base, filepath.Join(dir, "runs"))
	c, err := config.Parse([]byte(text), filepath.Join(dir, "tiny.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if run, err = train.Train(t.Context(), c, train.Options{}); err != nil {
		t.Fatal(err)
	}
	return run, chats
}

// TestRun follows a run from training to graphs.
func TestRun(t *testing.T) {
	run, chats := tinyRun(t)
	latest := filepath.Join(filepath.Dir(run.Dir), runs.Latest)
	r, got := describe(t, latest, inspect.Options{})
	wantText(t, got, latest+": run", "trained parameters  202,800", "2.76 %", "distill", "1 of 1", "what was gained (far: > 32 tokens back, near: < 16 tokens back)", "exact match, far  F1, far  questions  exact match, near",
		"full attention, not bounded", "window alone", "block, untrained", "block, trained",
		"not quantized yet: eisft quantize --run "+latest+" --calib FILE", "not exported yet: eisft export --run "+latest+" --shape")
	if n := strings.Count(got, "full attention, not bounded"); n != 1 {
		t.Errorf("full attention, which training does not change, was measured %d times, want once", n)
	}
	if r.Err() != nil {
		t.Errorf("problems: %q", r.Problems)
	}

	evaluated(t, run, chats)
	quantize(t, run, chats)
	_, _, err := export.Export(t.Context(), run.Model, filepath.Join(run.Dir, "export", "16x64"), export.Options{
		Sizes: []export.Size{{Tokens: 16, Cache: 64}}, Inputs: lower.InputEmbeds, Logits: lower.LogitsLast,
		Name: "tiny", BaseDir: run.Config.Model.Path, NoVerify: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, got = describe(t, run.Dir, inspect.Options{})
	if strings.Contains(got, "was stopped") {
		t.Errorf("nothing was stopped:\n%s", got)
	}
	wantText(t, got, "float and w8a16", "exported graphs: export/16x64", "export/16x64 has not been compared with the Go model: eisft check ")

	for _, name := range []string{".w4a16.partial", ".w4a16.partial-rank1"} {
		if err := os.Mkdir(filepath.Join(run.Dir, runs.QuantDir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, got = describe(t, run.Dir, inspect.Options{})
	if wantText(t, got, "quantizing w4a16 was stopped: the same command goes on"); strings.Count(got, "was stopped") != 1 {
		t.Errorf("want one note of what was stopped:\n%s", got)
	}

	config := filepath.Join(run.Dir, runs.ConfigFile)
	replaceIn(t, config, "window: 16", "window: 17")
	r, _ = describe(t, run.Dir, inspect.Options{})
	if problems := strings.Join(r.Problems, "\n"); !strings.Contains(problems, "config.yaml and adapter_config.json describe different blocks (window 17, but 16)") {
		t.Errorf("of another block: %q", problems)
	}
	replaceIn(t, config, "window: 17", "window: 16")

	folder := filepath.Join(run.Dir, "quant", "w8a16")
	replaceIn(t, config, "  dtype: auto\n", fmt.Sprintf("  dtype: auto\n  quantized: {folder: %q}\n", folder))
	r, got = describe(t, run.Dir, inspect.Options{})
	wantText(t, got, "trained beside the quantized model  "+folder+", activations rounded")
	if r.Err() != nil {
		t.Errorf("beside a quantized model: %q", r.Problems)
	}
	replaceIn(t, config, folder, folder+"x")
	if r, _ = describe(t, run.Dir, inspect.Options{}); !strings.Contains(strings.Join(r.Problems, "\n"), folder+"x, is not there: put it back, or ") {
		t.Errorf("beside a quantized model that is gone: %q", r.Problems)
	}
	replaceIn(t, config, fmt.Sprintf("  quantized: {folder: %q}\n", folder+"x"), "")

	_, got = describe(t, filepath.Join(run.Dir, "quant", "w8a16"), inspect.Options{})
	wantText(t, got, ": quantized model", "w8a16: weights int8, head int8, activations int16, cache int8", "lowest signal to quantization noise")
	r, got = describe(t, filepath.Join(run.Dir, "export", "16x64"), inspect.Options{})
	wantText(t, got, ": exported folder", "16t64c.onnx", "weights.bin", "compared with the Go model")
	if r.Err() != nil {
		t.Errorf("problems: %q", r.Problems)
	}
	graphs, err := filepath.Glob(filepath.Join(run.Dir, "export", "16x64", "*.onnx"))
	if err != nil || len(graphs) == 0 {
		t.Fatalf("no graphs: %v", err)
	}
	_, got = describe(t, graphs[0], inspect.Options{})
	wantText(t, got, ": ONNX graph", "inputs", "outputs", "MatMul")
}

// evaluated looks at a run's evaluations, of answers and of plain texts, one of which is not
// finished, and at a run whose evaluations had different budgets.
func evaluated(t *testing.T, run *runs.Run, chats string) {
	t.Helper()
	texts := filepath.Join(filepath.Dir(chats), "texts.jsonl")
	write(t, texts, strings.Repeat(`{"text": "`+strings.Repeat("The garage code is 4711. ", 30)+`"}`+"\n", 2))
	for name, path := range map[string]string{"chats": chats, "texts": texts} {
		job := &eval.Job{
			Model: run.Model, Tokenizer: run.Tokenizer, Template: run.Template, Dir: filepath.Join(run.Dir, eval.EvaluationsDir, name), Version: "v1",
			Config: eval.Config{Data: data.One(path), Samples: 2, MaxNewTokens: 2, Policies: []eval.Policy{eval.PolicyWindow, eval.PolicyEISFT}, Budgets: []int{8 * 20, 8 * 26}},
		}
		if _, err := job.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, text := describe(t, run.Dir, inspect.Options{})
	wantText(t, text, "evaluation chats (far", "eisft, 208 tokens", "evaluation texts of plain texts", "perplexity  1-127")
	dir := filepath.Join(run.Dir, eval.EvaluationsDir, "chats")
	r, got := describe(t, dir, inspect.Options{})
	wantText(t, got, ": evaluation", "policies          [window eisft]", "budgets           [160 208]", "records           8", "scores (far", "tokens kept", "report.html shows it")
	if err := os.Remove(filepath.Join(dir, eval.PageFile)); err != nil || r.Err() != nil {
		t.Errorf("%v, problems %q", err, r.Problems)
	}
	_, got = describe(t, dir, inspect.Options{})
	wantText(t, got, "it is not finished: the same eisft eval command goes on")
	replaceIn(t, filepath.Join(dir, eval.RecordsFile), `"policy":"window"`, `"policy":""`)
	if r, _ = describe(t, dir, inspect.Options{}); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "line 1: no policy") {
		t.Errorf("of a damaged record: %q", r.Problems)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	e, err := runs.ReadEvaluation(run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	e.Before[2].Budget.Bytes = 900_000
	file, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(run.Dir, runs.EvalFile), string(file))
	_, got = describe(t, run.Dir, inspect.Options{})
	wantText(t, got, "eisft had 900.0 kB before pruning took slots away, and has 747.1 kB: rows of other policies are at the latter")
}

func quantize(t *testing.T, run *runs.Run, chats string) {
	t.Helper()
	file := data.One(chats)
	job := &quant.Job{
		Model: run.Model, Tokenizer: run.Tokenizer, Template: run.Template, Recipe: &quant.Recipe{Name: "w8a16", Scheme: "w8a16", Ranges: quant.RangeMinMax, Weights: "rtn"},
		Calibration: data.Set{Files: file, Samples: 1}, Evaluation: eval.Config{Data: file, Samples: 1, MaxNewTokens: 2}, Dir: filepath.Join(run.Dir, "quant", "w8a16"),
	}
	if _, err := job.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

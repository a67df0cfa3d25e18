package inspect_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"eisft/eval"
	"eisft/inspect"
	"eisft/train/runs"
)

// page writes the page of runs and returns it.
func page(t *testing.T, o inspect.RunPageOptions, dirs ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.html")
	if err := inspect.WriteRunPage(t.Context(), path, dirs, o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRunPage: of one run, of two, of one without an evaluation, and what is refused.
func TestRunPage(t *testing.T) {
	run, chats := tinyRun(t)
	addDistances(t, run.Dir)
	got := page(t, inspect.RunPageOptions{Samples: 1}, run.Dir)
	wantText(t, got, "<h1>Training of tiny</h1>", "<h3>Stage 1: distill</h3>", "<h3>Stage 2: s-sft</h3>", "<h3>Learning rates</h3>", "<h3>Tokens a second</h3>", "<h3>Memory</h3>",
		"<h2>Kept, by layer and KV head over time</h2>", "<h2>Gate, by layer and head over time</h2>", "layer 7, head 3, step 2: ", "layer 7, head 1, step 1: ", "<title>with the trained block, trained, about 64 tokens: 1.00",
		"chats.jsonl:line 1. ", "slots: 8", "What slots keep of a text", `name="s0-0" id="s0-0-l7"`)
	kept := regexp.MustCompile(`<i class="kept[^"]*" style="[^"]*" title="token \d+, ([^"]*)">`).FindAllStringSubmatch(got, -1)
	held := 0
	for _, k := range kept {
		held += 2 * strings.Count(k[1], ": 2 of 2 heads")
		held += strings.Count(k[1], ": 1 of 2 heads")
	}
	if want := 8 * 8 * 2; held != want { // layers, slots, KV heads
		t.Errorf("%d places in slots are marked in %d tokens, want %d", held, len(kept), want)
	}
	if regexp.MustCompile(`(src|href)="?http`).MatchString(got) {
		t.Error("the page wants a network")
	}

	other := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(other, os.DirFS(run.Dir)); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(other, runs.ConfigFile)
	absolute, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, regexp.MustCompile(`(path|train|data): \.\./`).ReplaceAllString(strings.Replace(string(absolute), "batch: 1", "batch: 2", 1), "$1: "+filepath.Dir(filepath.Dir(run.Dir))+"/runs/../"))
	if err := os.Remove(filepath.Join(other, runs.EvalFile)); err != nil {
		t.Fatal(err)
	}
	got = page(t, inspect.RunPageOptions{}, run.Dir, other)
	wantText(t, got, "<h1>Runs side by side</h1>", "tiny: loss", "other: loss", "<td>stages[0].batch</td><td>1</td><td>2</td>", "<p>other was not evaluated while it was trained", "<td>eisft, perplexity</td>")
	if strings.Contains(got, "What slots keep") || strings.Contains(got, "<td>seed</td><td>0</td><td>0</td>") {
		t.Error("samples that nobody asked for, or settings that are the same")
	}

	metrics := filepath.Join(other, runs.MetricsFile)
	good, err := os.ReadFile(metrics)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ metrics, dir, data, want string }{
		"no run":          {dir: filepath.Join(other, "no"), want: "there is no run " + filepath.Join(other, "no") + "; eisft train"},
		"another folder":  {dir: filepath.Dir(other), want: "is no run's folder: it has no config.yaml"},
		"a file":          {dir: chats, want: chats + " is no run's folder: it has no config.yaml"},
		"no step":         {dir: other, want: "run " + other + " has no steps in metrics.jsonl"},
		"a damaged line":  {dir: other, metrics: strings.Replace(string(good), `"kind":"s-sft"`, `"kind:"s-sft"`, 1), want: metrics + ": line 2: invalid character"},
		"a missing stage": {dir: other, metrics: strings.Replace(string(good), `"stage":1`, `"stage":2`, 1), want: metrics + ": line 2: found stage 2 after 1 stages; the file is damaged"},
		"no data":         {dir: run.Dir, data: filepath.Join(filepath.Dir(chats), "no.jsonl"), want: "no.jsonl: no such file"},
	} {
		write(t, metrics, tc.metrics)
		err := inspect.WriteRunPage(t.Context(), filepath.Join(t.TempDir(), "page.html"), []string{tc.dir}, inspect.RunPageOptions{Samples: 1, Data: tc.data})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

// addDistances gives a run's results answers about facts at two distances.
func addDistances(t *testing.T, dir string) {
	t.Helper()
	e, err := runs.ReadEvaluation(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range e.After {
		r.Answers = []eval.Answer{
			{Where: "a", Distance: 20, Metrics: eval.Figures{eval.MetricExactMatch: 0}, Tokens: 1},
			{Where: "b", Distance: 60, Metrics: eval.Figures{eval.MetricExactMatch: 1}, Tokens: 1},
		}
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, runs.EvalFile), string(text))
}

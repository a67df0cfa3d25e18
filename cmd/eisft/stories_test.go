package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export/manifest"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/train/runs"
)

// plain is a chat template for a model that continues texts.
const plain = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"

// TestSlowStoriesWholeWay goes the whole way on a real pretrained model: distillation on
// stories, S-SFT on their endings, quantization, graphs. The model has no chat template;
// what asks for one says where to put it.
func TestSlowStoriesWholeWay(t *testing.T) {
	testfiles.Slow(t)
	orttest.Require(t)
	base := t.TempDir()
	if err := os.CopyFS(base, os.DirFS(testfiles.Golden(t, "stories260k/model"))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(testfiles.Golden(t, "stories260k"), "tinystories_sample.txt"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	stories := strings.Split(strings.TrimSpace(string(text)), "<|endoftext|>")
	writeRows(t, "stories.jsonl", stories, func(story string) any { return map[string]any{"text": story} })
	writeRows(t, "endings.jsonl", stories, func(story string) any {
		half := len(story) / 2
		return map[string]any{"context": story[:half], "input": "", "answers": []string{story[half:]}}
	})
	writeFile(t, "held-out.jsonl", `{"context":"Tom had a red ball. He lost it in the park.","input":"","answers":[" His friend found it."]}`+"\n")
	config := func(name, data, stage string) {
		writeFile(t, name+".yaml", "model: {path: "+base+"}\nblock: {sink: 4, window: 32, segment: 32, slots: 16}\n"+
			"data: {train: "+data+", max_tokens: 512}\nstages:\n  - "+stage+"\neval: {data: endings.jsonl, samples: 2, max_new_tokens: 4}\n")
	}
	config("distill", "stories.jsonl", "{kind: distill, steps: 4, batch: 1, tokens: 200, warmup: 1}")
	config("s-sft", "endings.jsonl", "{kind: s-sft, steps: 4, warmup: 1}")
	out := filepath.Join(latestRun, "export", "32x84")
	template := filepath.Join(base, "chat_template.jinja")
	if r := eisft(t, "train", "--config", "s-sft.yaml"); r.code != exitError || !strings.Contains(r.stderr, "add a chat_template.jinja to the model's folder") {
		t.Errorf("without a template: exit code %d, %s", r.code, r.stderr)
	}
	writeFile(t, template, plain)
	for _, args := range [][]string{
		{"inspect", base},
		{"train", "--config", "distill.yaml"},
		{"eval"},
		{"train", "--config", "s-sft.yaml"},
		{"quantize", "--calib", "stories.jsonl", "--eval-data", "held-out.jsonl"},
		{"export", "--shape", "32x84"},
		{"check", out},
		{"inspect", latestRun},
		{"inspect", out},
	} {
		r := eisft(t, args...)
		if r.code != 0 {
			t.Fatalf("eisft %v: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	m, err := manifest.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range m.Verification {
		if !v.Passed() || v.Precision == manifest.Float && v.EqualTokens != v.Compared {
			t.Errorf("the graphs differ from the Go model: %+v", v)
		}
	}
	if _, err := runs.Open(filepath.Join("runs", "distill")); err != nil {
		t.Error(err)
	}
	arguments := []string{"--prompt", stories[0][:400], "--max-new-tokens", "40"}
	want := eisft(t, append([]string{"generate"}, arguments...)...)
	got := eisft(t, append([]string{"run", "--graph", out, "--precision", "float"}, arguments...)...)
	if got.code != 0 || got.stdout != want.stdout || len(got.stdout) < 20 {
		t.Errorf("the graphs write %q (exit code %d, %s), the Go model %q (%s)", got.stdout, got.code, got.stderr, want.stdout, want.stderr)
	}
}

// writeRows writes JSON lines.
func writeRows(t *testing.T, name string, stories []string, row func(story string) any) {
	t.Helper()
	var lines strings.Builder
	for _, s := range stories {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		if err := json.NewEncoder(&lines).Encode(row(s)); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, name, lines.String())
}

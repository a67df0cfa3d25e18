package train

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"eisft/eval"
	"eisft/train/runs"
)

// TestCard: a run has a card that Hugging Face's hub reads, with what was measured; one that a
// person wrote stays.
func TestCard(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	c.Eval = eval.Config{Data: c.Data.Train, Before: true, Samples: 1, MaxNewTokens: 2, Policies: []eval.Policy{eval.PolicyWindow, eval.PolicyEISFT}}
	run, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(run.Dir, runs.CardFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := strings.Cut(strings.TrimPrefix(string(text), "---\n"), "\n---\n")
	var got map[string]any
	if err := yaml.Unmarshal([]byte(head), &got); err != nil || !ok {
		t.Fatalf("%v\n%s", err, text)
	}
	want := map[string]string{"base_model": filepath.Base(c.Model.Path), "base_model_relation": "adapter", "library_name": "eisft", "pipeline_tag": "text-generation", "license": "apache-2.0"}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s: %v, want %s", key, got[key], value)
		}
	}
	if list := got["datasets"]; list != nil { // a file of this machine is none of the hub's
		t.Errorf("datasets %v", got["datasets"])
	}
	e, err := runs.ReadEvaluation(run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		run.Model.Base.Identity(), "| s-sft | ", "| window |", "| eisft |", "chats.jsonl, answered greedily with at most 2 tokens",
		strings.TrimSpace(strings.Split(e.After[0].Title(), ",")[0]),
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the card has no %q:\n%s", want, body)
		}
	}
	if err := os.WriteFile(path, []byte("# Mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run.WriteCard(e, ""); err != nil {
		t.Fatal(err)
	}
	if text, err = os.ReadFile(path); err != nil || string(text) != "# Mine\n" {
		t.Errorf("a card that a person wrote became %q, %v", text, err)
	}
}

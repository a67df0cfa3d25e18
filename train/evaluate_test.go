package train

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"eisft/data"
	"eisft/eval"
	"eisft/train/runs"
)

// hook calls do once what is written has a text.
type hook struct {
	text string
	do   func()
}

func (h *hook) Write(p []byte) (int, error) {
	if h.do != nil && bytes.Contains(p, []byte(h.text)) {
		h.do()
		h.do = nil
	}
	return len(p), nil
}

// TestEvaluationReadOnce: rows that are evaluated on are encoded before training, and not again: a file that
// gets other rows meanwhile changes nothing.
func TestEvaluationReadOnce(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	text, err := os.ReadFile(c.Data.Train.String())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.jsonl")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Eval.Data, c.Eval.Policies, c.Eval.Before = data.One(path), []eval.Policy{eval.PolicyEISFT}, true
	c.Eval.MaxNewTokens = 2
	changed := false
	run, err := Train(t.Context(), c, Options{Progress: &hook{"config.yaml", func() {
		changed = true
		if err := os.WriteFile(path, text[:bytes.IndexByte(text, '\n')+1], 0o644); err != nil {
			t.Error(err)
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	found, err := runs.ReadEvaluation(run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for when, r := range map[string][]*eval.Result{"before": found.Before, "after": found.After} {
		if len(r) != 1 || len(r[0].Answers) != bytes.Count(text, []byte("\n")) {
			t.Errorf("%s training: %d results, want the answers of all rows", when, len(r))
		}
	}
	if !changed {
		t.Error("the file was not changed before the evaluation")
	}
}

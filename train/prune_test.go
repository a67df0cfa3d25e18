package train

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"eisft/data"
	"eisft/eval"
	"eisft/model"
	"eisft/train/runs"
)

const pruneStage = "{kind: prune, samples: 2, gain: 0.5}"

// TestPrune takes slots away and goes on training without them: the layers that are
// kept are the first ones in the order of the loss without each, and with one less the
// gain would not have been kept.
func TestPrune(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+", "+pruneStage+", "+sftStage+"]")
	run, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var found *runs.Pruned
	for _, m := range readMetrics(t, run.Dir) {
		if m.Pruned != nil {
			found = m.Pruned
		}
	}
	if found == nil {
		t.Fatal("metrics.jsonl has no line of the pruning")
	}
	if n := len(found.Kept); n == 0 || n == len(found.Layers) || len(found.Without) != len(found.Layers) {
		t.Fatalf("found %+v", found)
	}
	if found.None-found.Loss < 0.5*(found.None-found.All) {
		t.Errorf("the slots of layers %v gain less than was asked for: %+v", found.Kept, found)
	}
	for i, l := range found.Layers {
		for j, k := range found.Layers {
			if slices.Contains(found.Kept, l) && !slices.Contains(found.Kept, k) && found.Without[i] < found.Without[j] {
				t.Errorf("layer %d is kept and %d is not, which is missed more: %+v", l, k, found)
			}
		}
	}
	opened, err := runs.Open(run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*model.Model{run.Model, opened.Model} {
		if !slices.Equal(m.SlotLayers(), found.Kept) {
			t.Errorf("slots in layers %v, want %v", m.SlotLayers(), found.Kept)
		}
	}
}

// TestPoliciesAfter: where the block has lost slots, what it is compared with is measured at its
// budget again.
func TestPoliciesAfter(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	c.Eval.Policies = []eval.Policy{eval.PolicyFull, eval.PolicyWindow, eval.PolicyEISFT}
	if got := policiesAfter(c); !slices.Equal(got, []eval.Policy{eval.PolicyEISFT}) {
		t.Errorf("of the same block: %v", got)
	}
	pruned := tinyConfig(t, "["+pruneStage+", "+sftStage+"]")
	pruned.Eval.Policies = c.Eval.Policies
	if got := policiesAfter(pruned); !slices.Equal(got, []eval.Policy{eval.PolicyWindow, eval.PolicyEISFT}) {
		t.Errorf("of a pruned block: %v", got)
	}
}

// stopAtLine cancels a context when metrics.jsonl has so many lines.
type stopAtLine struct {
	context.Context
	path  string
	lines int
}

func (s stopAtLine) Err() error {
	text, _ := os.ReadFile(s.path)
	if bytes.Count(text, []byte("\n")) >= s.lines {
		return context.Canceled
	}
	return nil
}

// TestPruneResumes stops a run while it is pruned and after it was, and goes on.
func TestPruneResumes(t *testing.T) {
	const stages = "[" + distillStage + ", " + pruneStage + ", " + sftStage + "]"
	whole, err := Train(t.Context(), tinyConfig(t, stages), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for lines, last := range map[int]string{2: "distill", 3: "prune", 4: "s-sft"} {
		c := tinyConfig(t, stages)
		run, err := Train(stopAtLine{t.Context(), filepath.Join(c.Output, c.Name, runs.MetricsFile), lines}, c, Options{})
		if !errors.Is(err, ErrStopped) {
			t.Fatalf("got %v, want ErrStopped", err)
		}
		if m := readMetrics(t, run.Dir); len(m) != lines || m[lines-1].Kind != last {
			t.Fatalf("stopped after %+v, want %d lines, the last of %s", m, lines, last)
		}
		resumed, err := Train(t.Context(), c, Options{Resume: true})
		if err != nil {
			t.Fatal(err)
		}
		if !resumed.Model.Spec.Equal(whole.Model.Spec) {
			t.Fatalf("stopped after %s: block %+v, want %+v", last, resumed.Model.Spec, whole.Model.Spec)
		}
		for i, p := range resumed.Model.Params.List() {
			if !slices.Equal(p.Data, whole.Model.Params.List()[i].Data) {
				t.Fatalf("stopped after %s: %s differs from the run that was not stopped", last, p.Name)
			}
		}
	}
}

// TestPruneErrors: without training the slots may gain nothing, and plain texts have no
// answers to measure by.
func TestPruneErrors(t *testing.T) {
	c := tinyConfig(t, "["+pruneStage+"]")
	text := filepath.Join(t.TempDir(), "text.jsonl")
	if err := os.WriteFile(text, []byte(`{"text":"The garage code is 4711, and it has been so for as long as anyone can tell. The garage code is 4711, and it has been so."}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Data.Train = data.One(text)
	_, err := Train(t.Context(), c, Options{})
	wantError(t, err, "text.jsonl: 1 of 1 row cannot be trained on:\n  line 1: no answer to learn from", "this is a plain text")
}

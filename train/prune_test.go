package train

import (
	"bytes"
	stdcmp "cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/ranks"
	"eisft/internal/testfiles"
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

// TestSlowPruneChoices: side by side, the same layers are kept for the same losses, bit by bit, as
// where the samples are read anew for each.
func TestSlowPruneChoices(t *testing.T) {
	testfiles.Slow(t)
	run, err := Train(t.Context(), tinyConfig(t, "["+distillStage+"]"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	tr := &trainer{Run: run, config: &run.Config, group: ranks.Alone{}, size: 1, state: new(state)}
	if err := tr.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tr.checkRows(t.Context()); err != nil {
		t.Fatal(err)
	}
	loader, err := tr.loader(data.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := loader.Next()
	if err != nil {
		t.Fatal(err)
	}
	samples := []eval.Sample{{Encoded: e}}
	for _, gain := range []float64{0.97, 1} {
		p := &pruning{group: ranks.Alone{}, model: run.Model, samples: samples, gain: gain}
		if err := p.run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if want := prunedOneByOne(t, run.Model, samples, gain); !cmp.Equal(p.found, want) {
			t.Errorf("of %v of the gain: found %+v, want %+v", gain, p.found, want)
		}
	}
}

// prunedOneByOne reads the samples for each loss.
func prunedOneByOne(t *testing.T, m *model.Model, samples []eval.Sample, gain float64) runs.Pruned {
	t.Helper()
	loss := func(layers []int) float64 {
		kept, err := m.KeepSlots(layers)
		if err != nil {
			t.Fatal(err)
		}
		losses, err := eval.TurnLosses(t.Context(), kept, samples, model.StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		mean, _ := eval.MeanLoss(losses)
		return mean
	}
	f := runs.Pruned{Layers: m.SlotLayers()}
	f.All, f.None = loss(f.Layers), loss(nil)
	order := slices.Clone(f.Layers)
	for _, l := range f.Layers {
		f.Without = append(f.Without, loss(without(f.Layers, l)))
	}
	slices.SortStableFunc(order, func(a, b int) int { return stdcmp.Compare(f.Without[b], f.Without[a]) })
	for _, l := range order {
		f.Kept = append(f.Kept, l)
		slices.Sort(f.Kept)
		if f.Loss = loss(f.Kept); f.None-f.Loss >= gain*(f.None-f.All) {
			break
		}
	}
	return f
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

package train

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// watched is a tiny configuration with held-out rows, whose losses are taken after each
// step.
func watched(t *testing.T, stages string) *config.Config {
	t.Helper()
	c := tinyConfig(t, stages)
	c.Validation.Data = data.One(filepath.Join(filepath.Dir(c.Data.Train.String()), "held-out.jsonl"))
	row := `{"messages":[{"role":"user","content":"` + strings.Repeat("The garage code is 1234. ", 9) + `"},{"role":"assistant","content":"It is 1234."}]}` + "\n"
	if err := os.WriteFile(c.Validation.Data.String(), []byte(strings.Repeat(row, 2)+strings.ReplaceAll(row, "1234", "77")), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Validation.Every, c.Validation.Samples = 1, 0
	return c
}

// validations are the losses on held-out samples that a run's metrics have.
func validations(t *testing.T, dir string) (all []runs.Validation) {
	t.Helper()
	for _, m := range readMetrics(t, dir) {
		if m.Validation != nil {
			v := *m.Validation
			v.Seconds = 0
			all = append(all, v)
		}
	}
	return all
}

// TestSlowValidationChangesNothing: a run whose losses on held-out rows are taken trains the
// bits of one where they are not, and each is the loss that a training step on these rows
// has.
func TestSlowValidationChangesNothing(t *testing.T) {
	testfiles.Slow(t)
	for _, stage := range []string{sftStage, distillStage, "{kind: distill, steps: 2, batch: 1, tokens: 64, target: logits}"} {
		c := watched(t, "["+stage+"]")
		seen, err := Train(t.Context(), c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		blind := *c
		blind.Validation = config.Validation{}
		unseen, err := Train(t.Context(), &blind, Options{})
		if err != nil {
			t.Fatal(err)
		}
		sameParams(t, seen, unseen)
		found := validations(t, seen.Dir)
		if len(found) != c.Stages[0].NumSteps() {
			t.Fatalf("%s: %d losses, want one a step", stage, len(found))
		}
		if first := readMetrics(t, seen.Dir); first[0].Before == nil || first[1].Before != nil {
			t.Fatalf("%s: the loss before the first step is not in its line alone", stage)
		}
		// A step from the same adapter on a batch of these rows begins with the same loss.
		on := *c
		on.Model.Adapter, on.Data.Train, on.Validation = seen.Dir, c.Validation.Data, config.Validation{}
		s := c.Stages[0]
		switch kind := s.(type) {
		case config.SSFT:
			kind.Steps, kind.Batch = 1, 3
			s = kind
		case config.Distill:
			kind.Steps, kind.Batch = 1, 3
			s = kind
		}
		on.Stages = config.Stages{s}
		step, err := Train(t.Context(), &on, Options{})
		if err != nil {
			t.Fatal(err)
		}
		last := found[len(found)-1]
		if got := readMetrics(t, step.Dir)[0].Loss; math.Abs(got-last.Loss) > 1e-6*math.Abs(got) {
			t.Errorf("%s: the loss on held-out rows is %v, a step on them has %v", stage, last.Loss, got)
		}
		on.Model.Adapter = "" // the first step of all has the loss before it
		if step, err = Train(t.Context(), &on, Options{}); err != nil {
			t.Fatal(err)
		}
		before := readMetrics(t, seen.Dir)[0].Before.Loss
		if got := readMetrics(t, step.Dir)[0].Loss; math.Abs(got-before) > 1e-6*math.Abs(got) {
			t.Errorf("%s: the loss on held-out rows was %v before the first step, a step on them has %v", stage, before, got)
		}
	}
}

// TestSlowPatience: a stage ends when losses have not become better for long enough, leaves its
// best parameters where that is asked for, keeps them in a folder, and does the same when it
// is stopped and resumed at any step, by any number of ranks.
func TestSlowPatience(t *testing.T) {
	testfiles.Slow(t)
	stages := "[{kind: s-sft, steps: 9, batch: 2, warmup: 0, lr: {gate: 8, feature: 3, retention: 2}}, " + distillStage + "]"
	make := func(useBest bool) *config.Config {
		c := watched(t, stages)
		c.Validation.Patience, c.Validation.UseBest, c.Checkpoint.Every, c.Checkpoint.Keep = 2, useBest, 2, 2
		return c
	}
	c := make(true)
	whole, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := validations(t, whole.Dir)
	first := found[:len(found)-2] // the second stage has two
	last := first[len(first)-1]
	if len(first) >= 9 || !last.Stopped || last.Waited != 2 || last.BestStep != len(first)-2 {
		t.Fatalf("losses %+v, want that the stage ends two after its best", first)
	}
	for i, v := range first[:len(first)-1] {
		if v.Stopped {
			t.Errorf("loss %d says that it ended the stage", i)
		}
	}
	kept, err := filepath.Glob(filepath.Join(whole.Dir, runs.CheckpointsDir, "*"))
	if err != nil || len(kept) != 2 || filepath.Base(kept[1]) != "stage-02-step-000002" {
		t.Errorf("adapters %v, %v, want the last two", kept, err)
	}
	if _, err := model.LoadAdapter(whole.Model.Base, filepath.Join(whole.Dir, runs.BestDir)); err != nil {
		t.Error(err)
	}
	if other, err := Train(t.Context(), make(false), Options{}); err != nil {
		t.Error(err)
	} else if same(other, whole) {
		t.Error("the best parameters make no difference")
	}
	for _, stop := range []struct{ lines, size int }{{1, 1}, {len(first), 2}, {len(first) + 1, 1}} {
		c := make(true)
		results := trainRanks(stop.size, func(rank int) (context.Context, *config.Config, Options) {
			return stopAtLine{t.Context(), filepath.Join(c.Output, c.Name, runs.MetricsFile), stop.lines}, c, Options{}
		})
		if !errors.Is(results[0].err, ErrStopped) {
			t.Fatalf("%+v: %v", stop, results[0].err)
		}
		for _, r := range trainRanks(3-stop.size, func(int) (context.Context, *config.Config, Options) {
			return t.Context(), c, Options{Resume: true}
		}) {
			if r.err != nil {
				t.Fatalf("%+v: %v", stop, r.err)
			}
			sameParams(t, r.run, whole)
		}
		sameMetricsUntimed(t, results[0].run.Dir, whole.Dir)
	}
}

// same says whether two runs have the same parameters.
func same(a, b *runs.Run) bool {
	for i, p := range a.Model.Params.List() {
		for j, v := range b.Model.Params.List()[i].Data {
			if p.Data[j] != v {
				return false
			}
		}
	}
	return true
}

// sameMetricsUntimed compares the metrics of two runs, beside times.
func sameMetricsUntimed(t *testing.T, got, want string) {
	t.Helper()
	untimed := func(dir string) []runs.Metrics {
		all := readMetrics(t, dir)
		for i := range all {
			if all[i].Validation != nil {
				all[i].Validation.Seconds = 0
			}
		}
		return all
	}
	sameMetrics(t, untimed(got), untimed(want))
}

// TestValidationErrors: what is wrong with held-out rows is said before anything is trained,
// and a file that has changed is not resumed with.
func TestValidationErrors(t *testing.T) {
	c := watched(t, "["+sftStage+"]")
	text, err := os.ReadFile(c.Validation.Data.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Validation.Data.String(), []byte(`{"text":"no answer"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Train(t.Context(), c, Options{})
	wantError(t, err, "validation.data: ")
	if _, err := os.Stat(runDir(c, 1)); err == nil {
		t.Error("a run folder was made")
	}
	if err := os.WriteFile(c.Validation.Data.String(), text, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Train(stopAtLine{t.Context(), filepath.Join(runDir(c, 1), runs.MetricsFile), 1}, c, Options{})
	if !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Validation.Data.String(), text[:bytes.IndexByte(text, '\n')+1], 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Train(t.Context(), c, Options{Resume: true})
	wantError(t, err, "validation.data: its content has changed since the checkpoint was written")
}

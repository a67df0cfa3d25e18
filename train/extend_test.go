package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/eval"
	"eisft/internal/ranks"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// stepsOf returns a configuration whose last stage has so many steps.
func stepsOf(c *config.Config, n int) *config.Config {
	more := *c
	more.Stages = slices.Clone(c.Stages)
	last := len(more.Stages) - 1
	more.Stages[last] = withSteps(more.Stages[last], n)
	return &more
}

// TestSlowExtend: with a learning rate that stays, a run that was extended has the bits of one
// that was as long from the start, by ranks and when it is stopped and resumed, too; stages
// may be added behind it; what else is different is refused.
func TestSlowExtend(t *testing.T) {
	testfiles.Slow(t)
	c := tinyConfig(t, "["+distillStage+", {kind: s-sft, steps: 2, batch: 2, warmup: 1, min_lr: 1}]")
	long, err := Train(t.Context(), stepsOf(tinyConfig(t, "["+distillStage+", {kind: s-sft, steps: 2, batch: 2, warmup: 1, min_lr: 1}]"), 5), Options{})
	if err != nil {
		t.Fatal(err)
	}
	short, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	extend := func(c *config.Config) error {
		_, err := Train(t.Context(), c, Options{Extend: true})
		return err
	}
	wantError(t, extend(c), "the run has all that the configuration asks for; raise stages[1].steps above 2")
	other := *stepsOf(c, 5)
	other.Seed = 7
	wantError(t, extend(&other), "with more steps in the last stage or more stages; but seed was 0 and is 7")
	wantError(t, extend(stepsOf(c, 1)), "stages[1].steps was 2 and is 1")
	nobody := *c
	nobody.Name = "nobody"
	wantError(t, extend(&nobody), "there is no run", "leave --extend out")

	more := stepsOf(c, 5)
	var notes []string
	results := trainRanks(2, func(int) (context.Context, *config.Config, Options) {
		return stopAtLine{t.Context(), filepath.Join(short.Dir, runs.MetricsFile), 5}, more, Options{Extend: true, Note: func(n string) { notes = append(notes, n) }}
	})
	if !errors.Is(results[0].err, ErrStopped) {
		t.Fatal(results[0].err)
	}
	if all := strings.Join(notes, "\n"); !strings.Contains(all, "stage 2 (s-sft) goes on at step 2 of 5. Its learning rates follow the longer schedule from there: they had fallen to 1 of the full ones, go on at 1 and fall to 1") {
		t.Errorf("notes %q", all)
	}
	run, err := Train(t.Context(), more, Options{Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	sameParams(t, run, long)
	sameMetrics(t, readMetrics(t, run.Dir), readMetrics(t, long.Dir))

	staged := *more
	staged.Stages = append(slices.Clone(more.Stages), tinyConfig(t, "["+sftStage+"]").Stages...)
	if err := extend(&staged); err != nil {
		t.Fatal(err)
	}
	if m := readMetrics(t, run.Dir); m[len(m)-1].Stage != 2 || m[len(m)-1].Step != 3 {
		t.Errorf("the last step is %+v, want the third of another stage", m[len(m)-1])
	}
	if opened, err := runs.Open(run.Dir); err != nil || len(opened.Config.Stages) != 3 {
		t.Errorf("the run has %d stages, %v", len(opened.Config.Stages), err)
	}
}

// TestExtendRefused: a finished run whose data have changed is not extended, and stays as it is.
func TestExtendRefused(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+"]")
	run, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows := c.Data.Train.String()
	was, err := os.ReadFile(rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rows, []byte(strings.ReplaceAll(string(was), "4711", "4712")), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Train(t.Context(), stepsOf(c, 4), Options{Extend: true})
	wantError(t, err, runs.FinishedFile, "data.train: its content has changed", "without --resume and --extend")
	if s := runs.Summarize(run.Dir); s.State != runs.Finished || s.Stages[0].Of != 2 {
		t.Errorf("the run is %s, of %d steps; want it finished, of 2", s.State, s.Stages[0].Of)
	}
	if err := os.WriteFile(rows, was, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Train(t.Context(), stepsOf(c, 4), Options{Extend: true}); err != nil {
		t.Fatal(err)
	}
}

// TestAdapterGoesOn: training begins with the parameters of another run's adapter, whose
// pruned layers stay without slots; another block and another file are refused.
func TestAdapterGoesOn(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+", "+pruneStage+"]")
	first, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	on := tinyConfig(t, "["+sftStage+"]")
	on.Model.Adapter = first.Dir
	r := &trainer{config: on, group: ranks.Alone{}, state: new(state)}
	if err := r.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer r.source.Close()
	sameParams(t, r.Run, first)
	if _, err := Train(stopAtLine{t.Context(), filepath.Join(runDir(on, 1), runs.MetricsFile), 1}, on, Options{}); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	second, err := Train(t.Context(), on, Options{Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := runs.Open(second.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(opened.Model.SlotLayers(), first.Model.SlotLayers()) || same(opened, first) {
		t.Errorf("slots in layers %v, want %v and other parameters", opened.Model.SlotLayers(), first.Model.SlotLayers())
	}
	wide := *on
	wide.Block.Window = 32
	_, err = Train(t.Context(), &wide, Options{})
	wantError(t, err, "model.adapter: "+first.Dir+" has another block than the configuration (window")
	gone := *on
	gone.Model.Adapter = filepath.Join(first.Dir, "gone")
	_, err = Train(t.Context(), &gone, Options{})
	wantError(t, err, "model.adapter: ", "gone")
}

// evaluated is a tiny configuration that is evaluated on what it is trained on.
func evaluated(t *testing.T) *config.Config {
	c := tinyConfig(t, "["+sftStage+"]")
	c.Eval = eval.Config{Data: c.Data.Train, Before: true, MaxNewTokens: 3, Policies: []eval.Policy{eval.PolicyWindow, eval.PolicyEISFT}}
	return c
}

// stopsAfterRecords is a context that ends when the evaluation before training has kept so
// many answers.
type stopsAfterRecords struct {
	context.Context
	dir  string
	want int
}

func (s stopsAfterRecords) Err() error {
	text, _ := os.ReadFile(filepath.Join(s.dir, beforeDir, eval.RecordsFile))
	if strings.Count(string(text), "\n") >= s.want {
		return context.Canceled
	}
	return nil
}

// TestSlowStopInEvaluation: a run that is stopped while the untrained block is evaluated is kept,
// and goes on with the answers that are missing.
func TestSlowStopInEvaluation(t *testing.T) {
	testfiles.Slow(t)
	whole, err := Train(t.Context(), evaluated(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := evaluated(t)
	for rank, r := range trainRanks(2, func(int) (context.Context, *config.Config, Options) {
		return stopsAfterRecords{t.Context(), runDir(c, 1), 3}, c, Options{}
	}) {
		if !errors.Is(r.err, ErrStopped) {
			t.Fatalf("rank %d: %v", rank, r.err)
		}
		wantError(t, r.err, "while the untrained block was evaluated", "--resume goes on")
	}
	var notes []string
	var run *runs.Run
	for rank, r := range trainRanks(2, func(rank int) (context.Context, *config.Config, Options) {
		o := Options{Resume: true}
		if rank == 0 {
			o.Note = func(n string) { notes = append(notes, n) }
		}
		return t.Context(), c, o
	}) {
		if run = r.run; r.err != nil {
			t.Fatalf("rank %d: %v", rank, r.err)
		}
	}
	if all := strings.Join(notes, "\n"); !strings.Contains(all, " of 8 rows were answered before") {
		t.Errorf("notes %q, want that answers were there", all)
	}
	sameParams(t, run, whole)
	got, err := runs.ReadEvaluation(run.Dir)
	if err != nil || len(got.Before) != 2 || len(got.After) != 1 || len(got.Before[0].Answers) != 4 {
		t.Errorf("evaluation %+v, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(run.Dir, beforeDir)); err == nil {
		t.Error("the answers before training are still there")
	}
}

// TestResumeWithOtherEvaluation: what is beside training may change while a run is stopped;
// an evaluation that is not to be compared with the one at the end is dropped.
func TestResumeWithOtherEvaluation(t *testing.T) {
	c := evaluated(t)
	c.TensorBoard = true
	if _, err := Train(stopAtLine{t.Context(), filepath.Join(runDir(c, 1), runs.MetricsFile), 1}, c, Options{}); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	changed := *c
	changed.Eval.MaxNewTokens, changed.Checkpoint.Every = 2, 1
	var notes []string
	run, err := Train(t.Context(), &changed, Options{Resume: true, Note: func(n string) { notes = append(notes, n) }})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(notes, "\n")
	for _, want := range []string{"checkpoint.every was 50 and is 1", "eval.max_new_tokens was 3 and is 2", "what was measured before training is dropped"} {
		if !strings.Contains(all, want) {
			t.Errorf("notes %q, want %q", all, want)
		}
	}
	if e, err := runs.ReadEvaluation(run.Dir); err != nil || e.Before != nil || len(e.After) != 1 {
		t.Errorf("evaluation %+v, %v, want none before", e, err)
	}
	if written, err := config.Load(filepath.Join(run.Dir, runs.ConfigFile)); err != nil || written.Eval.MaxNewTokens != 2 {
		t.Errorf("the run's configuration has max_new_tokens %d, %v", written.Eval.MaxNewTokens, err)
	}
	if files, err := filepath.Glob(filepath.Join(run.Dir, "events.out.tfevents.*")); err != nil || len(files) != 2 {
		t.Errorf("event files %v, %v, want one of each start", files, err)
	}
}

// TestPruneWithoutGain: slots that gain nothing do not end a run; all layers keep theirs.
func TestPruneWithoutGain(t *testing.T) {
	c := tinyConfig(t, "["+pruneStage+", "+sftStage+"]")
	c.Block.Window, c.Block.Sink = 256, 8 // nothing leaves it
	c.Data.MaxTokens = 2048
	var warnings []string
	run, err := Train(t.Context(), c, Options{Warn: func(w string) { warnings = append(warnings, w) }})
	if err != nil {
		t.Fatal(err)
	}
	m := readMetrics(t, run.Dir)
	if found := m[0].Pruned; found == nil || !slices.Equal(found.Kept, found.Layers) || len(m) != 4 {
		t.Errorf("metrics %+v, want that all layers keep their slots and that training goes on", m)
	}
	if all := strings.Join(warnings, "\n"); !strings.Contains(all, "they gain nothing") {
		t.Errorf("warnings %q", all)
	}
	if _, err := model.LoadAdapter(run.Model.Base, run.Dir); err != nil {
		t.Error(err)
	}
}

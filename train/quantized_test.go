package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"eisft/model"
	"eisft/model/graph"
	"eisft/train/config"
	"eisft/train/runs"
)

// coarse opens a base whose down_proj have another size, and rounds what maps read to
// multiples of 1/16.
func coarse(sum string) func(m *model.Model, folder string) (*Quantized, error) {
	return func(m *model.Model, folder string) (*Quantized, error) {
		if folder == "/absent" {
			return nil, errors.New("there is nothing")
		}
		b := *m.Base
		b.Layers = slices.Clone(b.Layers)
		for i, l := range b.Layers {
			b.Layers[i] = l.WithMaps(func(r model.Role, f *model.Linear) *model.Linear {
				w := slices.Clone(f.Weight())
				for j := range w {
					if r == model.RoleDown {
						w[j] *= 1.1
					}
				}
				return model.NewLinear(f.Name, f.In, f.Out, w, f.Bias)
			})
		}
		round := func(x []float32) {
			for i, v := range x {
				x[i] = float32(int(v*16)) / 16
			}
		}
		r := &graph.Rounding{
			Wrap: func(o model.Ops[[]float32], _ int) model.Ops[[]float32] { return &rounded{o, round} },
			Round: func(_ *model.Layer, at graph.Site, x []float32) {
				if at.Norm == "" && !at.Output {
					round(x)
				}
			},
		}
		return &Quantized{Model: &model.Model{Base: &b, Spec: m.Spec, Params: m.Params}, Rounding: r, SHA256: sum}, nil
	}
}

type rounded struct {
	model.Ops[[]float32]
	round func(x []float32)
}

func (r *rounded) Linear(l *model.Linear, x []float32) []float32 {
	r.round(x)
	return r.Ops.Linear(l, x)
}

// TestQuantizedBase: what is frozen is the quantized base, activations are rounded unless the
// configuration says otherwise, and the run belongs to the float base and names the folder.
func TestQuantizedBase(t *testing.T) {
	all := "[" + distillStage + ", {kind: s-sft, steps: 2, batch: 1}]"
	float := trained(t, tinyConfig(t, all), Options{})
	found := map[string]bool{float.Model.Params.Identity(): true}
	for _, weightsOnly := range []bool{false, true} {
		c := tinyConfig(t, all)
		c.Model.Quantized = config.Quantized{Folder: "/codes", WeightsOnly: weightsOnly}
		run := trained(t, c, Options{Quantized: coarse("abc")})
		id := run.Model.Params.Identity()
		if found[id] {
			t.Errorf("weights only %v: the parameters are those of another training", weightsOnly)
		}
		found[id] = true
		again, err := runs.Open(run.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if q := again.Config.Model.Quantized; q.SHA256 != "abc" || q.Folder != "/codes" || q.WeightsOnly != weightsOnly || again.Model.Params.Identity() != id {
			t.Errorf("the run's folder says %+v", q)
		}
		if c.Model.Quantized.SHA256 != "" {
			t.Error("the caller's configuration was changed")
		}
	}
}

// TestPlanBesideQuantized: a plan says what a run is trained beside.
func TestPlanBesideQuantized(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+"]")
	c.Model.Quantized = config.Quantized{Folder: "/codes"}
	plan, err := Plan(t.Context(), c, Options{Quantized: coarse("abc")})
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	if err := plan.Write(&told); err != nil {
		t.Fatal(err)
	}
	if want := "the quantized model in /codes, activations rounded\n"; !strings.Contains(told.String(), want) {
		t.Errorf("the plan does not say %q:\n%s", want, &told)
	}
}

func trained(t *testing.T, c *config.Config, o Options) *runs.Run {
	t.Helper()
	run, err := Train(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestQuantizedErrors(t *testing.T) {
	with := func(q config.Quantized) *config.Config {
		c := tinyConfig(t, "["+sftStage+"]")
		c.Model.Quantized = q
		return c
	}
	_, err := Train(t.Context(), with(config.Quantized{Folder: "/codes"}), Options{})
	wantError(t, err, "this program trains beside float weights alone")
	_, err = Train(t.Context(), with(config.Quantized{Folder: "/absent"}), Options{Quantized: coarse("abc")})
	wantError(t, err, "model.quantized: there is nothing")
	_, err = Train(t.Context(), with(config.Quantized{Folder: "/codes", SHA256: "def"}), Options{Quantized: coarse("abc")})
	wantError(t, err, "/codes has changed: its sha256 was def and is abc")

	// A run goes on beside what it began beside.
	c := with(config.Quantized{Folder: "/codes"})
	c.Checkpoint.Every = 1
	ctx, cancel := context.WithCancel(t.Context())
	stopping := func(m *model.Model, folder string) (*Quantized, error) {
		q, err := coarse("abc")(m, folder)
		round := q.Rounding.Wrap
		q.Rounding.Wrap = func(o model.Ops[[]float32], first int) model.Ops[[]float32] {
			if _, err := os.Stat(filepath.Join(c.Output, c.Name, runs.CheckpointFile)); err == nil { // after a step
				cancel()
			}
			return round(o, first)
		}
		return q, err
	}
	if _, err := Train(ctx, c, Options{Quantized: stopping}); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "holds a checkpoint") {
		t.Fatalf("error %v, want one of a run that was stopped on its way", err)
	}
	_, err = Train(t.Context(), c, Options{Quantized: coarse("other"), Resume: true})
	wantError(t, err, "model.quantized: /codes has changed: its sha256 was abc and is other")
	if _, err := Train(t.Context(), c, Options{Quantized: coarse("abc"), Resume: true}); err != nil {
		t.Error(err)
	}
}

// TestPruneBesideQuantized: the layers that keep their slots are found by the losses of the
// quantized model, its weights and its rounding, and the run keeps them.
func TestPruneBesideQuantized(t *testing.T) {
	var read atomic.Int64 // streams, or blocks of them, whose activations were rounded
	counted := func(m *model.Model, folder string) (*Quantized, error) {
		q, err := coarse("abc")(m, folder)
		if err == nil {
			wrap := q.Rounding.Wrap
			q.Rounding.Wrap = func(o model.Ops[[]float32], first int) model.Ops[[]float32] {
				read.Add(1)
				return wrap(o, first)
			}
		}
		return q, err
	}
	train := func(stages string) (*runs.Run, int64) {
		t.Helper()
		c := tinyConfig(t, stages)
		c.Model.Quantized.Folder = "/codes"
		read.Store(0)
		return trained(t, c, Options{Quantized: counted}), read.Load()
	}
	_, without := train("[" + distillStage + "]")
	run, with := train("[" + distillStage + ", " + pruneStage + "]")
	var p *runs.Pruned
	for _, m := range readMetrics(t, run.Dir) {
		if m.Pruned != nil {
			p = m.Pruned
		}
	}
	if p == nil {
		t.Fatal("metrics.jsonl has no line of the pruning")
	}
	if n := len(p.Kept); n == 0 || n == len(p.Layers) || p.None-p.Loss < 0.5*(p.None-p.All) {
		t.Errorf("found %+v", p)
	}
	if losses := int64(2 + len(p.Without) + len(p.Kept)); with-without < losses {
		t.Errorf("%d streams were rounded, and %d without pruning, which takes %d losses", with, without, losses)
	}
	opened, err := runs.Open(run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := opened.Model.SlotLayers(); !slices.Equal(got, p.Kept) || opened.Config.Model.Quantized.SHA256 != "abc" {
		t.Errorf("slots in layers %v, want %v; beside %+v", got, p.Kept, opened.Config.Model.Quantized)
	}
}

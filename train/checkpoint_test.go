package train

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/ranks"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/kernels"
	"eisft/train/config"
	"eisft/train/runs"
)

// opened is a trainer with all that it reads, and a run folder of its own.
func opened(t testing.TB, change func(*config.Config)) *trainer {
	t.Helper()
	c := tinyConfig(t, "["+sftStage+"]")
	change(c)
	r := &trainer{config: c, group: ranks.Alone{}, state: new(state)}
	if err := r.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.source.Close() })
	r.Dir, r.optimizer = t.TempDir(), newAdamW(r.Model.Params)
	return r
}

// put writes a checkpoint with any metadata, as the first version did: without a hash, which
// would refuse what does not come from a trainer.
func (t *trainer) put(tb testing.TB, position, block, inputs string) {
	tb.Helper()
	var text bytes.Buffer
	err := hf.Encode(&text, t.optimizer.entries(), map[string]string{"format": firstCheckpointFormat, "position": position, "block": block, "inputs": inputs})
	path := filepath.Join(t.Dir, runs.CheckpointFile)
	_ = os.Remove(path) // what is written over waits for the disk
	if err == nil {
		err = os.WriteFile(path, text.Bytes(), 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// TestCheckpointOfAnotherBlock: slots may have been pruned; all else is the configuration's.
func TestCheckpointOfAnotherBlock(t *testing.T) {
	r := opened(t, func(*config.Config) {})
	for _, tc := range []struct {
		change func(*model.Spec)
		want   string
	}{
		{func(*model.Spec) {}, ""},
		{func(s *model.Spec) { s.Window = 17 }, "block: window 17, but 16 in the configuration"},
		{func(s *model.Spec) { s.Slots = 9 }, "block: slots 9, but 8 in the configuration"},
		{func(s *model.Spec) { s.SlotLayers, s.Sink = []int{2}, 3 }, "block: sink 3, but 2 in the configuration"},
		{func(s *model.Spec) { s.SlotLayers = []int{2, 99} }, "block: "},
	} {
		spec := r.Model.Spec
		tc.change(&spec)
		block, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		r.put(t, "{}", string(block), "")
		was := *r
		_, err = r.restore(filepath.Join(r.Dir, runs.CheckpointFile))
		if *r = was; tc.want != "" {
			wantError(t, err, runs.CheckpointFile, tc.want)
		} else if err != nil {
			t.Error(err)
		}
	}
}

// TestCheckpointOfOtherProducts: a checkpoint knows what computed matrix products, and a run that goes on with
// another says so.
func TestCheckpointOfOtherProducts(t *testing.T) {
	r := opened(t, func(*config.Config) {})
	var said []string
	r.options.Warn = func(m string) { said = append(said, m) }
	if err := r.saveCheckpoint(position{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir, runs.CheckpointFile)
	for _, was := range []string{"", kernels.Bits(), "OpenBLAS 0.3 Old"} { // "" is what earlier versions wrote
		f, err := hf.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		metadata := f.Metadata
		if err := f.Close(); err != nil || was == "" && metadata["products"] != kernels.Bits() {
			t.Fatalf("%v; products by %q, want %q", err, metadata["products"], kernels.Bits())
		}
		r.warnOfProducts(was)
	}
	want := r.Dir + " was trained with matrix products of OpenBLAS 0.3 Old and goes on with those of " + kernels.Bits() + ": the result differs"
	if len(said) != 1 || !strings.HasPrefix(said[0], want) {
		t.Errorf("warnings %q, want %q", said, want)
	}
}

// FuzzCheckpoint: whatever a checkpoint says, it is refused by its name, or stands at a place
// of this configuration.
func FuzzCheckpoint(f *testing.F) {
	r := opened(f, func(c *config.Config) { // small
		c.Block.Feature, c.Block.Gate, c.Block.SlotLayers = model.FeatureELU, model.GateScalar, []int{2, 6}
	})
	block, err := json.Marshal(r.Model.Spec)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"stage": 0, "step": 2, "cursor": {"epoch": 1, "index": 2}}`, string(block), "{}")
	f.Add(`{"stage": 0, "step": -1}`, strings.Replace(string(block), "[2,6]", "[2]", 1), `{"model.path": ""}`)
	f.Add(`{"stage": 9e18}`, "null", "null")
	f.Add("null", string(block), "null")
	f.Fuzz(func(t *testing.T, position, block, inputs string) {
		r.put(t, position, block, inputs)
		u := *r
		at, err := u.restore(filepath.Join(u.Dir, runs.CheckpointFile))
		if err != nil {
			if !strings.Contains(err.Error(), runs.CheckpointFile) {
				t.Errorf("the error does not name the checkpoint: %v", err)
			}
			return
		}
		if at.Stage != 0 || at.Step < 0 || at.Step > r.config.Stages[0].NumSteps() {
			t.Errorf("restored %+v", at)
		}
	})
}

// TestTrimLongLines: a base of many layers and heads has lines of more than 64 KiB.
func TestTrimLongLines(t *testing.T) {
	r := opened(t, func(*config.Config) {})
	heads := make([]float32, 20_000)
	line, err := json.Marshal(runs.Metrics{Step: 1, Layers: []model.LayerStats{{KeptHeads: heads}, {KeptHeads: heads}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir, runs.MetricsFile)
	one := slices.Concat(line, []byte("\n"))
	two := bytes.Replace(one, []byte(`"step":1`), []byte(`"step":2`), 1)
	if err := os.WriteFile(path, slices.Concat(one, two), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.trimMetrics(position{Step: 1}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, one) {
		t.Errorf("%d bytes are left, %v, want the first line, %d bytes", len(got), err, len(one))
	}
}

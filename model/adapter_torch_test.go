package model_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
)

// torch returns a Python that has PyTorch: $EISFT_PYTHON, or one that is installed (Debian's
// python3-torch belongs to /usr/bin/python3).
func torch(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("EISFT_PYTHON"), "/usr/bin/python3", "python3"} {
		if name != "" && exec.CommandContext(t.Context(), name, "-c", "import torch").Run() == nil {
			return name
		}
	}
	t.Skip("PyTorch is not there: scripts/reference/setup.sh installs Debian's, or name a Python that has it with EISFT_PYTHON")
	return ""
}

// TestSlowTorchAdapter: scripts/reference/adapter.py gives the logits that the Go model gives,
// of a text of many segments, for blocks that differ in all that an adapter's description says.
func TestSlowTorchAdapter(t *testing.T) {
	testfiles.Slow(t)
	python, script := torch(t), testfiles.Repository(t, "scripts/reference/adapter.py")
	base, err := model.LoadBase("demo")
	if err != nil {
		t.Fatal(err)
	}
	small := modeltest.DefaultBlock(t)
	small.Sink, small.Window, small.Segment, small.Slots = 4, 32, 32, 24
	for name, change := range map[string]func(s *model.Spec){
		"pruned": func(s *model.Spec) { s.SlotLayers = []int{2, 6} },
		"slots":  func(s *model.Spec) { s.Memory = model.MemoryNone },
		"memory": func(s *model.Spec) {
			s.Slots, s.WriteGate, s.Map, s.Gate, s.FeatureDim = 0, true, true, model.GateVector, 16
		},
		"delta": func(s *model.Spec) {
			s.Memory, s.Feature, s.Gate, s.Positions = model.MemoryDelta, model.FeatureELU, model.GateMass, model.PositionsAbsolute
		},
	} {
		spec := small
		change(&spec)
		m, err := model.New(base, spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(3, 4))
		for _, p := range m.Params.List() {
			for i := range p.Data {
				p.Data[i] += 0.1 * float32(random.NormFloat64())
			}
		}
		dir := t.TempDir()
		if err := m.SaveAdapter(dir, "demo"); err != nil {
			t.Fatal(err)
		}
		ids := modeltest.Tokens(m, 170)
		text, err := json.Marshal(ids)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "logits.safetensors")
		c := exec.CommandContext(t.Context(), python, script, dir, "--ids", "-", "--float64", "--out", out)
		c.Stdin, c.Env = bytes.NewReader(text), append(os.Environ(), "OMP_NUM_THREADS=1")
		if said, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, said)
		}
		f, err := hf.OpenFile(out)
		if err != nil {
			t.Fatal(err)
		}
		tensor, err := f.Tensor("logits")
		if err != nil {
			t.Fatal(err)
		}
		want, err := tensor.Float32()
		if err != nil {
			t.Fatal(err)
		}
		vocab := base.Head.Out
		got, st := make([]float32, len(ids)*vocab), m.NewStream(model.StreamOptions{})
		err = st.Feed(t.Context(), ids, 0, func(first int, hidden []float32) error {
			rows := len(hidden) / base.Dims.Hidden
			st.Logits(got[first*vocab:(first+rows)*vocab], hidden)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		modeltest.Near(t, name, got, want, 2e-3)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

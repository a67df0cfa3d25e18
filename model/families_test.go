package model_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/kernels"
	"eisft/model/modeltest"
)

// families are tiny checkpoints with a golden.safetensors.
var families = []string{
	"gemma3", "llama", "llama31", "mistral", "phi3", "qwen2", "qwen3",
	"bluelm", "ernie4_5", "hunyuan", "internlm2", "internlm3", "stablelm", "yi",
	"exaone4", "gemma", "gemma2", "granite", "minicpm", "ministral3", "olmo2", "olmo3", "smollm3",
}

// hiddenTape keeps what enters each layer.
type hiddenTape struct{ layers [][]float32 }

func (h *hiddenTape) Layer(i int, x []float32, _ model.Past) {
	if i == len(h.layers) {
		h.layers = append(h.layers, nil)
	}
	h.layers[i] = append(h.layers[i], x...)
}
func (h *hiddenTape) Output([]float32)        {}
func (h *hiddenTape) Remember(int, []float32) {}

func (*hiddenTape) LogSums(int, int, int) []float32                { return nil }
func (h *hiddenTape) Write(int, model.Written, []int32, []float32) {}

// TestFamilies compares every layer's input, the final norm's output and the
// logits of each family with its golden, read in segments of 13: with the
// weights kept in float32 and with weights converted on every use.
func TestFamilies(t *testing.T) {
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			dir := testfiles.Base(t, name)
			for _, keep := range []int64{math.MaxInt64, 0} {
				b := openFamily(t, dir, func(w model.Tensors) model.Tensors { return w })
				b.CopyWeights(keep)
				if b.Config.DType == "bfloat16" {
					compareFamily(t, dir, b, near(t, 2e-2))
					roundFrequencies(b)
				}
				compareFamily(t, dir, b, near(t, 1e-4))
			}
		})
	}
}

// TestFamiliesInBF16 rounds the weights of each golden to bfloat16.
func TestFamiliesInBF16(t *testing.T) {
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			dir := testfiles.Base(t, name)
			b := openFamily(t, dir, func(w model.Tensors) model.Tensors { return rounded{w} })
			compareFamily(t, dir, b, func(what string, got, want []float32) {
				if r := modeltest.Relative(got, want, 1e-6); r > 2e-2 {
					t.Errorf("%s: relative error %.2g", what, r)
				}
			})
		})
	}
}

// roundFrequencies does what the goldens of the bfloat16 checkpoints have in
// them: transformers rounded the inverse frequencies with the weights.
func roundFrequencies(b *model.Base) {
	r := b.Layers[0].Rotary
	bits := make([]byte, 2*len(r.InvFreq))
	kernels.F32ToBF16(bits, r.InvFreq)
	same := &model.Rotary{InvFreq: make([]float32, len(r.InvFreq)), Scale: r.Scale}
	kernels.BF16ToF32(same.InvFreq, bits)
	for _, l := range b.Layers {
		l.Rotary = same
	}
}

func openFamily(t testing.TB, dir string, wrap func(model.Tensors) model.Tensors) *model.Base {
	t.Helper()
	c, err := hf.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := hf.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ck.Close() })
	b, err := model.NewBase(c, wrap(ck))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rounded rounds weights to bfloat16.
type rounded struct{ model.Tensors }

func (r rounded) Tensor(name string) (hf.Tensor, error) {
	x, err := r.Tensors.Tensor(name)
	if err != nil {
		return x, err
	}
	v, err := x.Float32()
	x.DType, x.Data = hf.DTypeBF16, make([]byte, 2*len(v))
	kernels.F32ToBF16(x.Data, v)
	return x, err
}

// near compares with an absolute tolerance.
func near(t testing.TB, tol float64) func(what string, got, want []float32) {
	return func(what string, got, want []float32) { modeltest.Near(t, what, got, want, tol) }
}

func compareFamily(t *testing.T, dir string, b *model.Base, compare func(what string, got, want []float32)) {
	t.Helper()
	floats, ids := openTensors(t, filepath.Join(dir, "golden.safetensors"))
	m, err := model.New(b, model.FullAttention(13), nil)
	if err != nil {
		t.Fatal(err)
	}
	tape := &hiddenTape{}
	var last, logits []float32
	st := m.NewStream(model.StreamOptions{Tape: tape})
	err = st.Feed(t.Context(), ids("input_ids"), 0, func(_ int, hidden []float32) error {
		out := make([]float32, len(hidden)/b.Dims.Hidden*b.Head.Out)
		st.Logits(out, hidden)
		last, logits = append(last, hidden...), append(logits, out...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range append(tape.layers, last) {
		name := fmt.Sprintf("hidden.%d", i)
		compare(name, got, floats(name))
	}
	compare("logits", logits, floats("logits"))
}

// TestFamiliesGoOn reads with a block that evicts, token by token and at once,
// and goes on from a saved state: partial rotary embedding, two rotary tables, layers
// without one, sliding windows, capped logits and norms after all else come out the same.
func TestFamiliesGoOn(t *testing.T) {
	spec := model.Spec{
		Sink: 2, Window: 9, Segment: 8, Slots: 5, Positions: model.PositionsCompact,
		Memory: model.MemoryLinear, Feature: model.FeatureELU, Gate: model.GateMass,
	}
	absolute := spec
	absolute.Positions = model.PositionsAbsolute
	for _, name := range []string{"phi3", "gemma3", "gemma2", "smollm3", "exaone4", "olmo2", "hunyuan", "stablelm"} {
		for _, s := range []model.Spec{spec, absolute} {
			t.Run(name+" "+string(s.Positions), func(t *testing.T) {
				dir := testfiles.Base(t, name)
				m, err := model.New(openFamily(t, dir, func(w model.Tensors) model.Tensors { return w }), s, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, ids := openTensors(t, filepath.Join(dir, "golden.safetensors"))
				text := ids("input_ids")
				want := logitsAfter(t, m, m.NewStream(model.StreamOptions{NoRouting: true}), text)
				st := m.NewStream(model.StreamOptions{NoRouting: true})
				var got []float32
				for _, id := range text[:43] {
					got = append(got, logitsAfter(t, m, st, []int32{id})...)
				}
				path := filepath.Join(t.TempDir(), "state")
				if err := st.Save(path, nil); err != nil {
					t.Fatal(err)
				}
				if st, _, err = m.OpenStream(path, model.StreamOptions{NoRouting: true}); err != nil {
					t.Fatal(err)
				}
				modeltest.Near(t, "logits", append(got, logitsAfter(t, m, st, text[43:])...), want, 1e-3)
			})
		}
	}
}

package export_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/data"
	"eisft/export"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort/orttest"
	"eisft/model"
	"eisft/model/hf"
	"eisft/quant"
)

// randomTensors makes up every tensor that a model asks for, the same one for the same
// name.
type randomTensors struct{ *hf.Config }

func (randomTensors) Names() []string { return nil }

func (r randomTensors) Tensor(name string) (hf.Tensor, error) {
	c := r.Config
	q, kv, d, f := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim, c.HiddenSize, c.IntermediateSize
	shapes := map[string][]int{
		"embed_tokens": {c.VocabSize, d}, "lm_head": {c.VocabSize, d}, "norm": {d},
		"input_layernorm": {d}, "post_attention_layernorm": {d}, "q_norm": {c.HeadDim}, "k_norm": {c.HeadDim},
		"q_proj": {q, d}, "k_proj": {kv, d}, "v_proj": {kv, d}, "o_proj": {d, q},
		"gate_proj": {f, d}, "up_proj": {f, d}, "down_proj": {d, f},
	}
	parts := strings.Split(name, ".")
	shape := shapes[parts[len(parts)-2]]
	if parts[len(parts)-1] == "bias" {
		shape = shape[:1]
	}
	n, scale := 1, 1.0
	for _, s := range shape {
		n *= s
	}
	if len(shape) == 2 {
		scale = 1.5 / math.Sqrt(float64(shape[1]))
	}
	data := make([]byte, 4*n)
	random := rand.New(rand.NewPCG(uint64(len(name)), uint64(name[len(name)/2])))
	for i := range n {
		v := float32(scale * random.NormFloat64())
		if len(shape) == 1 && !strings.HasSuffix(name, "bias") {
			v = 1 + 0.1*v
		}
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	return hf.Tensor{Name: name, DType: hf.DTypeF32, Shape: shape, Data: data}, nil
}

// tinyModel is a model of two layers with random weights and trained parameters.
func tinyModel(t testing.TB, spec model.Spec, change func(*hf.Config)) *model.Model {
	t.Helper()
	c := &hf.Config{
		VocabSize: 50, HiddenSize: 24, NumHiddenLayers: 2, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 8,
		IntermediateSize: 40, HiddenAct: "silu", RMSNormEps: 1e-5, Rope: hf.Rope{Type: "default", Theta: 10000},
		QueryPreAttnScale: 1 / math.Sqrt(8), EmbeddingScale: 1, LayerTypes: []hf.LayerType{hf.FullAttention, hf.FullAttention},
	}
	if change != nil {
		change(c)
	}
	b, err := model.NewBase(c, randomTensors{c})
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(b, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for _, p := range m.Params.List() {
		for i := range p.Data {
			p.Data[i] += float32(0.5 * random.NormFloat64())
		}
	}
	return m
}

// block is a small block with slots and memory.
func block(change func(*model.Spec)) model.Spec {
	s := model.Spec{
		Sink: 2, Window: 5, Segment: 4, Slots: 6, Positions: model.PositionsCompact,
		Memory: model.MemoryLinear, Feature: model.FeatureHedgehog, Gate: model.GateSlot,
	}
	change(&s)
	return s
}

var size = export.Size{Tokens: 4, Cache: 17}

func options(dir string) export.Options {
	return export.Options{Sizes: []export.Size{size}, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll, Name: "tiny", BaseDir: dir}
}

// TestEverySwitch compares the driven graphs with the Go model for every switch of the
// block, over a prompt that fills slots and memory, and generation.
func TestEverySwitch(t *testing.T) {
	orttest.Require(t)
	cases := map[string]func(*model.Spec){
		"eisft":        func(*model.Spec) {},
		"elu":          func(s *model.Spec) { s.Feature = model.FeatureELU },
		"delta":        func(s *model.Spec) { s.Memory = model.MemoryDelta },
		"delta elu":    func(s *model.Spec) { s.Memory, s.Feature = model.MemoryDelta, model.FeatureELU },
		"narrow":       func(s *model.Spec) { s.FeatureDim = 5 },
		"scalar":       func(s *model.Spec) { s.Gate = model.GateScalar },
		"vector":       func(s *model.Spec) { s.Gate = model.GateVector },
		"query":        func(s *model.Spec) { s.Gate = model.GateQuery },
		"mass":         func(s *model.Spec) { s.Gate = model.GateMass },
		"mass elu":     func(s *model.Spec) { s.Gate, s.Feature = model.GateMass, model.FeatureELU },
		"map":          func(s *model.Spec) { s.Map = true },
		"map vector":   func(s *model.Spec) { s.Map, s.Gate = true, model.GateVector },
		"write gate":   func(s *model.Spec) { s.WriteGate, s.Slots, s.Window = true, 0, 11 },
		"no slots":     func(s *model.Spec) { s.Slots, s.Window = 0, 11 },
		"no memory":    func(s *model.Spec) { s.Memory = model.MemoryNone },
		"window only":  func(s *model.Spec) { s.Memory, s.Slots, s.Window = model.MemoryNone, 0, 11 },
		"absolute":     func(s *model.Spec) { s.Positions = model.PositionsAbsolute },
		"absolute elu": func(s *model.Spec) { s.Positions, s.Feature = model.PositionsAbsolute, model.FeatureELU },
		"no sinks":     func(s *model.Spec) { s.Sink, s.Slots = 0, 8 },
		"no window":    func(s *model.Spec) { s.Window, s.Slots = 0, 11 },
		"many sinks":   func(s *model.Spec) { s.Sink, s.Slots = 6, 2 },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			m := tinyModel(t, block(change), nil)
			v := exported(t, m, options(t.TempDir()))
			if m.Spec.HasMemory() && v.Written == 0 || v.Slots != m.Spec.Slots {
				t.Errorf("%d tokens in memory, %d of %d slots in use", v.Written, v.Slots, m.Spec.Slots)
			}
		})
	}
}

// exported writes the model, verifies it to 1e-4 and returns the figures.
func exported(t *testing.T, m *model.Model, o export.Options) manifest.Verification {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	info, report, err := export.Export(t.Context(), m, out, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Errorf("finding: %s", f)
	}
	if _, err := os.Stat(filepath.Join(out, manifest.Name)); err != nil {
		t.Error(err)
	}
	v := info.Verification[0]
	if v.MaxLogitError > 1e-4 || v.EqualTokens != v.Compared {
		t.Errorf("largest difference of a logit %.2g, %d of %d tokens equal", v.MaxLogitError, v.EqualTokens, v.Compared)
	}
	t.Logf("%+v", v)
	return v
}

// quantized calibrates the model on random tokens and quantizes it.
func quantized(t testing.TB, m *model.Model) *quant.Quantized {
	t.Helper()
	scheme, err := quant.ParseScheme("w8a16")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(5, 6))
	samples := func(yield func(data.Encoded, error) bool) {
		ids := make([]int32, 400)
		for i := range ids {
			ids[i] = random.Int32N(int32(m.Base.Embed.Out))
		}
		yield(data.Encoded{Where: "random", IDs: ids}, nil)
	}
	seen, err := quant.Calibrate(t.Context(), m, samples)
	if err != nil {
		t.Fatal(err)
	}
	q, err := quant.Quantize(m, scheme, quant.RangeMinMax, seen)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestQuantized compares the quantized graphs with the Go model under fake
// quantization, for bases with and without biases and norms of the heads.
func TestQuantized(t *testing.T) {
	orttest.Require(t)
	for name, change := range map[string]func(*hf.Config){
		"llama": nil,
		"qwen2": func(c *hf.Config) { c.AttentionBias = true },
		"qwen3": func(c *hf.Config) { c.QKNorm, c.TieWordEmbeddings = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			m := tinyModel(t, block(func(*model.Spec) {}), change)
			o := options(t.TempDir())
			o.Quantized = quantized(t, m)
			info, _, err := export.Export(t.Context(), m, filepath.Join(t.TempDir(), "out"), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range info.Verification {
				t.Logf("%+v", v)
			}
		})
	}
}

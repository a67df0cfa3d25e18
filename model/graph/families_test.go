package graph

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
)

// TestFamilyGradients checks what Llama does not have: norms after attention
// and feed-forward, partial rotary embedding, a sliding window, GELU and scaled
// embeddings; LayerNorm, also of embeddings, and weights after rotary embedding.
func TestFamilyGradients(t *testing.T) {
	all := specs()
	for what, change := range map[string]layerOf{"gemma": gemma, "layer norms": layerNorms} {
		for _, name := range []string{"slots", "slot-hedgehog-linear-slots", "vector-elu-delta"} {
			t.Run(what+"/"+name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(11, 12))
				m := testModel(t, all[name], r, change)
				if what == "gemma" {
					m.Base.EmbeddingScale = 2
				} else {
					m.Base.Norm, m.Base.EmbeddingNorm = centered(m.Base.Norm, r), centered(randomNorm(r, m.Base.Dims.Hidden), r)
				}
				k, run := blockOf(m, 0, 7, r)
				checkProgram(t, m, k, run)
				checkRecorded(t, m, testSample(r), softOptions())
			})
		}
	}
}

// layerNorms is a layer with LayerNorm, and with weights of queries after rotary embedding.
func layerNorms(l *model.Layer, d model.Dims, r *rand.Rand) {
	l.InputNorm, l.PostAttentionNorm = centered(l.InputNorm, r), centered(l.PostAttentionNorm, r)
	l.QueryWeight = randomNorm(r, d.HeadDim).Weight
}

// centered makes a LayerNorm of a norm.
func centered(n *model.Norm, r *rand.Rand) *model.Norm {
	n.Center, n.Bias = true, random(r, len(n.Weight), 0.3)
	return n
}

// TestVariantGradients checks what only some families have: blocks, samples and attention
// transfer, with logits that are divided and capped.
func TestVariantGradients(t *testing.T) {
	all := specs()
	for what, change := range variants {
		for _, name := range []string{"slots", "slot-hedgehog-linear-slots", "vector-elu-delta"} {
			t.Run(what+"/"+name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(33, 34))
				m := testModel(t, all[name], r, change)
				m.Base.LogitScale, m.Base.LogitSoftcap = 0.7, 3
				k, run := blockOf(m, 0, 7, r)
				checkProgram(t, m, k, run)
				checkRecorded(t, m, testSample(r), softOptions())
				checkTransfer(t, m, r)
			})
		}
	}
}

// variants are layers with one thing each that Llama's does not have.
var variants = map[string]layerOf{
	"softcap":        func(l *model.Layer, _ model.Dims, _ *rand.Rand) { l.AttentionSoftcap = 1.5 },
	"residual scale": func(l *model.Layer, _ model.Dims, _ *rand.Rand) { l.ResidualScale = 0.4 },
	"not turned":     func(l *model.Layer, _ model.Dims, _ *rand.Rand) { l.Rotary = &model.Rotary{Scale: 1} },
	"norms after": func(l *model.Layer, d model.Dims, r *rand.Rand) {
		l.AttentionOutputNorm, l.FeedForwardOutputNorm = randomNorm(r, d.Hidden), randomNorm(r, d.Hidden)
		l.InputNorm, l.PostAttentionNorm = nil, nil
	},
	"norms over all heads": func(l *model.Layer, d model.Dims, r *rand.Rand) {
		l.QNorm, l.KNorm = randomNorm(r, d.Heads*d.HeadDim), randomNorm(r, d.KVHeads*d.HeadDim)
	},
}

// gemma is a layer with what Llama's does not have.
func gemma(l *model.Layer, d model.Dims, r *rand.Rand) {
	l.AttentionOutputNorm, l.FeedForwardOutputNorm = randomNorm(r, d.Hidden), randomNorm(r, d.Hidden)
	l.Rotary = &model.Rotary{InvFreq: []float32{1, 0.1}, Scale: 1.2}
	l.AttentionScale, l.SlidingWindow, l.Activation = 0.3, 12, model.GELUTanh
}

// families are the golden checkpoints.
var families = []string{
	"phi3", "gemma3", "llama", "llama31", "mistral", "qwen2", "qwen3",
	"bluelm", "ernie4_5", "hunyuan", "internlm2", "internlm3", "stablelm", "yi",
	"exaone4", "gemma", "gemma2", "granite", "minicpm", "ministral3", "olmo2", "olmo3", "smollm3",
}

// TestProgramIsTheStream runs every layer of every segment of a text as a block
// program and compares with what the stream computed, for every family.
func TestProgramIsTheStream(t *testing.T) {
	spec := model.Spec{
		Sink: 2, Window: 9, Segment: 10, Slots: 5, Positions: model.PositionsCompact,
		Memory: model.MemoryLinear, Feature: model.FeatureHedgehog, Gate: model.GateSlot,
	}
	for _, name := range families {
		for _, soft := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/soft=%v", name, soft), func(t *testing.T) {
				p := recordedPass(t, familyModel(t, name, spec), soft)
				for _, s := range p.tape.live {
					for i := range s.inputs {
						want := s.output
						if i+1 < len(s.inputs) {
							want = s.inputs[i+1]
						}
						modeltest.Near(t, fmt.Sprintf("segment %d, layer %d", s.index, i), p.forward(t, i, s), want, 1e-5)
					}
				}
			})
		}
	}
}

// slotLayers are blocks of two layers of which one has slots.
func slotLayers(t *testing.T, check func(t *testing.T, m *model.Model, with int, r *rand.Rand)) {
	for _, name := range []string{"slots", "slot-hedgehog-linear-slots"} {
		for with := range 2 {
			t.Run(fmt.Sprintf("%s/%d", name, with), func(t *testing.T) {
				r := rand.New(rand.NewPCG(17, 18))
				check(t, twoLayers(t, specs()[name], with, r), with, r)
			})
		}
	}
}

// TestSlotLayerGradients checks gradients of a block that has slots in one layer alone.
func TestSlotLayerGradients(t *testing.T) {
	slotLayers(t, func(t *testing.T, m *model.Model, with int, r *rand.Rand) {
		if without := m.Params.Layers[1-with]; without.RetentionWeight != nil {
			t.Error("the layer without slots has a retention score")
		}
		if with == 1 || m.Spec.HasMemory() { // else the last layer has nothing to train
			checkRecorded(t, m, testSample(r), softOptions())
		}
	})
}

// TestSlotLayers runs each layer of a block that has slots in one of them as a program, and
// compares with the stream.
func TestSlotLayers(t *testing.T) {
	slotLayers(t, func(t *testing.T, m *model.Model, with int, _ *rand.Rand) {
		for _, soft := range []bool{false, true} {
			p := recordedPass(t, m, soft)
			if l := p.stream.State.Layers; l[with].K.Len() <= l[1-with].K.Len() || l[1-with].Score != nil {
				t.Errorf("%d keys are stored with slots, %d without", l[with].K.Len(), l[1-with].K.Len())
			}
			for _, s := range p.tape.live {
				modeltest.Near(t, "layer 0", p.forward(t, 0, s), s.inputs[1], 1e-5)
				modeltest.Near(t, "layer 1", p.forward(t, 1, s), s.output, 1e-5)
			}
		}
	})
}

// twoLayers is testModel with its layer twice, with slots in one of them.
func twoLayers(t *testing.T, s model.Spec, with int, r *rand.Rand) *model.Model {
	t.Helper()
	b := testModel(t, s, r).Base
	second := *b.Layers[0]
	second.Index = 1
	b.Layers = append(b.Layers, &second)
	s.SlotLayers = []int{with}
	m, err := model.New(b, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	randomParams(m, r)
	return m
}

// TestTransferOfWhatKeepsEverything distills blocks whose retention score keeps
// every token at its place: they are the base, whatever its family.
func TestTransferOfWhatKeepsEverything(t *testing.T) {
	spec := model.Spec{Window: 9, Segment: 10, Slots: 5, Positions: model.PositionsCompact, Memory: model.MemoryNone}
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			m := familyModel(t, name, spec)
			if m.Base.Layers[0].QueryWeight != nil { // scores depend on positions, not on distances alone
				m.Spec.Positions = model.PositionsAbsolute
			}
			for _, l := range m.Params.Layers {
				clear(l.RetentionWeight.Data)
				for g := range l.RetentionBias.Data {
					l.RetentionBias.Data[g] = 40 // log σ = 0
				}
			}
			got, err := NewEngine(m, nil).Transfer(t.Context(), randomIDs(m, 60), nil, TransferOptions{Weight: 1}, m.Params.Zero())
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range got.Errors {
				if !(e < 1e-9) {
					t.Errorf("layer %d: relative error %g", i, e)
				}
			}
		})
	}
}

// familyModel joins a golden checkpoint with a block of random parameters.
func familyModel(t *testing.T, name string, s model.Spec) *model.Model {
	t.Helper()
	b, err := model.LoadBase(testfiles.Base(t, name))
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(b, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(13, 14))
	for _, p := range m.Params.List() {
		copy(p.Data, random(r, len(p.Data), 0.3))
	}
	return m
}

func randomIDs(m *model.Model, n int) []int32 {
	r, ids := rand.New(rand.NewPCG(15, 16)), make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(m.Base.Embed.Out))
	}
	return ids
}

// recordedPass is a forward pass over 40 random tokens; every segment carries a graph.
func recordedPass(t *testing.T, m *model.Model, soft bool) *pass {
	t.Helper()
	return recordedPassOf(t, NewEngine(m, nil), soft)
}

func recordedPassOf(t *testing.T, e *Engine, soft bool) *pass {
	t.Helper()
	m := e.model
	s := Sample{IDs: randomIDs(m, 40), Loss: slices.Repeat([]bool{true}, 40)}
	p, err := e.newPass(s, Options{Soft: soft, TokenWeight: 1}, m.Params.Zero())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.stream.Feed(t.Context(), s.IDs, p.rows[0], nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// forward runs layer i's program on a segment and returns its output.
func (p *pass) forward(t *testing.T, i int, s liveSegment) []float32 {
	t.Helper()
	k, r := p.blockRun(blockKind, i, len(s.inputs[i])/p.model.Base.Dims.Hidden, s.past[i])
	r.inputs = append(r.inputs, binding{"x", s.inputs[i], func([]float32) {}})
	r.upstream = make([]float32, len(s.inputs[i]))
	var y []float32
	r.result = func(out []float32) { y = slices.Clone(out) }
	if err := p.programs.do(k, r); err != nil {
		t.Fatal(err)
	}
	if n := along(y, y); !(n > 0) {
		t.Fatalf("layer %d: the output's squared length is %g", i, n)
	}
	return y
}

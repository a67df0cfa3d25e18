package quant

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
)

// transformed are tiny checkpoints of all families.
var transformed = []string{
	"gemma3", "llama", "llama31", "mistral", "phi3", "qwen2", "qwen3",
	"bluelm", "ernie4_5", "hunyuan", "internlm2", "internlm3", "stablelm", "yi",
	"exaone4", "gemma", "gemma2", "granite", "minicpm", "ministral3", "olmo2", "olmo3", "smollm3",
}

// blocks are the presets and what they leave out, in sizes that fill up within a hundred
// tokens.
func blocks(t testing.TB) map[string]model.Spec {
	t.Helper()
	all := map[string]model.Spec{}
	for _, name := range model.PresetNames() {
		s, err := model.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		s.Sink, s.Window, s.Segment = min(s.Sink, 2), min(s.Window, 8), 8
		if s.Slots > 0 {
			s.Slots = 6
		}
		all[name] = s
	}
	write := all["infini"]
	write.WriteGate, write.Map, write.Memory, write.Gate = true, true, model.MemoryDelta, model.GateMass
	all["write gate, map, delta, mass"] = write
	mapped := all["eisft"]
	mapped.Map, mapped.Gate, mapped.SlotLayers = true, model.GateQuery, []int{1}
	all["slots in a layer, map, query"] = mapped
	decaying := all["eisft"]
	decaying.Retention = model.Retention{Form: model.RetentionMLP, Hidden: 5, Decay: true}
	all["mlp, decay"] = decaying
	absolute := all["eisft"]
	absolute.Positions, absolute.Map = model.PositionsAbsolute, true
	all["absolute, map"] = absolute
	return all
}

// openTrained opens a base with a block whose parameters are as random as training's.
func openTrained(t testing.TB, dir string, s model.Spec) *model.Model {
	t.Helper()
	m := modeltest.Open(t, dir, s)
	random := rand.New(rand.NewPCG(3, 4))
	for _, p := range m.Params.List() {
		scale := 0.3
		if p.Group == model.GroupRetention || p.Group == model.GroupWrite {
			scale = 2 / math.Sqrt(float64(m.Base.Dims.Hidden))
		}
		for i := range p.Data {
			p.Data[i] += float32(scale * random.NormFloat64())
		}
	}
	return m
}

func texts(lists ...[]int32) iter.Seq2[data.Encoded, error] {
	var all []data.Encoded
	for _, ids := range lists {
		all = append(all, data.Encoded{Where: "test", IDs: ids})
	}
	return each(all...)
}

// outcome is what a model computes of a text: all logits, and the state behind it.
type outcome struct {
	logits []float32
	state  *model.State
}

func compute(t testing.TB, m *model.Model, w model.Wrap, ids []int32, soft bool) outcome {
	t.Helper()
	st := m.NewStream(model.StreamOptions{Wrap: w, Soft: soft})
	var logits []float32
	err := st.Feed(t.Context(), ids, 0, func(_ int, hidden []float32) error {
		out := make([]float32, len(hidden)/m.Base.Dims.Hidden*m.Base.Head.Out)
		st.Logits(out, hidden)
		logits = append(logits, out...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return outcome{logits, st.State}
}

// apart is max|x−y| as a share of max|y|.
func apart(x, y []float32) float64 {
	if len(x) != len(y) {
		return math.Inf(1)
	}
	most, largest := 0.0, 0.0
	for i, v := range y {
		if d := math.Abs(float64(x[i] - v)); !(d <= most) {
			most = d
		}
		largest = math.Max(largest, math.Abs(float64(v)))
	}
	if most == 0 {
		return 0
	}
	return most / largest
}

// valueMatrices are the matrices [K,d,d] that a layer's values were multiplied by.
func valueMatrices(m *model.Model, f *Folded, layer int) []float32 {
	dims := m.Base.Dims
	d := dims.HeadDim
	var all []float32
	for kv := range dims.KVHeads {
		c := make([]float32, d*d)
		for i := range d {
			c[i*d+i] = 1
		}
		for _, s := range f.Steps {
			if scales := s.Scales[in(m.Base.Layers[layer].O.Name)]; scales != nil {
				for i := range c {
					c[i] /= scales[kv*d+i%d]
				}
			}
			if s.Values != nil {
				c = product(c, s.Values[layer][kv*d*d:(kv+1)*d*d], d)
			}
		}
		all = append(all, c...)
	}
	return all
}

// product is a·b with b [n,n].
func product(a, b []float32, n int) []float32 {
	out := make([]float32, len(a))
	for i := range len(a) / n {
		for j := range n {
			sum := 0.0
			for k := range n {
				sum += float64(a[i*n+k]) * float64(b[k*n+j])
			}
			out[i*n+j] = float32(sum)
		}
	}
	return out
}

// difference says where two models part: in logits, in slots, in the memory's mass, or in
// what it holds of the values, which the transforms have turned and scaled.
func difference(m *model.Model, f *Folded, got, want outcome) string {
	const most = 1e-4
	if e := apart(got.logits, want.logits); e > most {
		return fmt.Sprintf("logits differ by %.2g of the largest", e)
	}
	dims := m.Base.Dims
	for i := range want.state.Layers {
		x, y := &got.state.Layers[i], &want.state.Layers[i]
		if !slices.Equal(x.Token, y.Token) {
			return fmt.Sprintf("layer %d keeps other tokens", i)
		}
		if e := apart(x.Score, y.Score); e > most {
			return fmt.Sprintf("layer %d: scores differ by %.2g", i, e)
		}
		if y.Memory == nil {
			continue
		}
		matrix, mass := x.MemoryParts(dims)
		wantMatrix, wantMass := y.MemoryParts(dims)
		turned, c := []float32(nil), valueMatrices(m, f, i)
		d, head := dims.HeadDim, len(wantMatrix)/dims.KVHeads
		for kv := range dims.KVHeads {
			turned = append(turned, product(wantMatrix[kv*head:(kv+1)*head], c[kv*d*d:(kv+1)*d*d], d)...)
		}
		if e := apart(mass, wantMass); e > most {
			return fmt.Sprintf("layer %d: the memory's mass differs by %.2g", i, e)
		}
		if e := apart(matrix, turned); e > most {
			return fmt.Sprintf("layer %d: the memory differs by %.2g", i, e)
		}
	}
	return ""
}

// recipes are chains of transforms.
var recipes = map[string]Recipe{
	"smoothquant":         {Transforms: []string{"smoothquant"}, SmoothQuant: SmoothQuant{Alpha: 0.7}},
	"awq":                 {Scheme: "w8a16", Transforms: []string{"awq"}, AWQ: AWQ{Grid: 3}},
	"R1":                  {Transforms: []string{"rotate"}, Rotate: Rotate{R2: "none"}},
	"R2":                  {Transforms: []string{"rotate"}, Rotate: Rotate{R1: "none"}},
	"learned":             {Scheme: "w8a16", Transforms: []string{"rotate"}, Rotate: Rotate{R1: "learned", R2: "learned", Steps: 2}},
	"rotate, smoothquant": {Scheme: "w8a16", Transforms: []string{"rotate", "smoothquant"}},
	"awq, rotate":         {Scheme: "w8a16", Transforms: []string{"awq", "rotate"}, AWQ: AWQ{Grid: 2}, Rotate: Rotate{R2: "learned", Steps: 2}},
}

// TestTransformsChangeNothing: of every family and block, the transformed model computes
// what the model does, over many segments and token by token, and base and adapter stay as
// they are.
func TestTransformsChangeNothing(t *testing.T) {
	refusals := map[string]string{
		"gemma2": "norm", "gemma3": "norm", "olmo2": "norm", "olmo3": "norm", "exaone4": "norm",
	}
	for _, family := range transformed {
		t.Run(family, func(t *testing.T) {
			for block, spec := range blocks(t) {
				m := openTrained(t, testfiles.Base(t, family), spec)
				ids := modeltest.Tokens(m, 61)
				before := []any{m.Base.Identity(), m.Params.Identity()}
				want := compute(t, m, nil, ids, false)
				seen, err := CollectChannels(t.Context(), m, texts(ids))
				if err != nil {
					t.Fatal(err)
				}
				for name, r := range recipes {
					tm, f, err := Transform(t.Context(), m, &r, seen)
					r1, r2 := turns(&r)
					switch {
					case r1 && refusals[family] != "":
						if err == nil || !strings.Contains(err.Error(), "R1 cannot be folded into this base: the attention output norm model.layers.0.") {
							t.Errorf("%s, %s: error %v", block, name, err)
						}
						continue
					case r2 && spec.Gate == model.GateVector:
						if err == nil || !strings.Contains(err.Error(), "gate: vector") {
							t.Errorf("%s, %s: error %v", block, name, err)
						}
						continue
					case err != nil:
						t.Errorf("%s, %s: %v", block, name, err)
						continue
					}
					if d := difference(m, f, compute(t, tm, nil, ids, false), want); d != "" {
						t.Errorf("%s, %s: %s", block, name, d)
					}
				}
				if after := []any{m.Base.Identity(), m.Params.Identity()}; !slices.Equal(before, after) {
					t.Errorf("%s: base or adapter were changed", block)
				}
				if d := difference(m, &Folded{}, compute(t, m, nil, ids, false), want); d != "" {
					t.Errorf("%s: the base was changed: %s", block, d)
				}
			}
		})
	}
}

// TestUniformOutputNorms: norms of what is added to the residual stream that have one weight
// for all channels let R1 pass.
func TestUniformOutputNorms(t *testing.T) {
	for _, family := range []string{"gemma2", "olmo2"} {
		m := openTrained(t, testfiles.Base(t, family), blocks(t)["eisft"])
		for _, l := range m.Base.Layers {
			for _, n := range []*model.Norm{l.AttentionOutputNorm, l.FeedForwardOutputNorm} {
				for i := range n.Weight {
					n.Weight[i] = 1.3
				}
			}
		}
		r, ids := recipes["R1"], modeltest.Tokens(m, 61)
		tm, f, err := Transform(t.Context(), m, &r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := difference(m, f, compute(t, tm, nil, ids, false), compute(t, m, nil, ids, false)); d != "" {
			t.Errorf("%s: %s", family, d)
		}
	}
}

// turns says which rotations a recipe has.
func turns(r *Recipe) (r1, r2 bool) {
	if !slices.Contains(r.Transforms, "rotate") {
		return false, false
	}
	return r.Rotate.R1 != "none", r.Rotate.R2 != "none"
}

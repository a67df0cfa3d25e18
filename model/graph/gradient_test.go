package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
)

// testModel is a random one-layer model: 4 heads of 6 in 2 groups, D = 10,
// with q and k norms and biases, a vocabulary of 11.
func testModel(t testing.TB, s model.Spec, r *rand.Rand) *model.Model {
	t.Helper()
	d := model.Dims{Heads: 4, KVHeads: 2, HeadDim: 6, Hidden: 10}
	linear := func(name string, out, in int) *model.Linear {
		return model.NewLinear(name, in, out, random(r, out*in, 0.5), random(r, out, 0.5))
	}
	norm := func(n int) *model.Norm {
		w := random(r, n, 0.3)
		for i := range w {
			w[i]++
		}
		return &model.Norm{Weight: w, Eps: 1e-5}
	}
	b := &model.Base{Dims: d, Config: &hf.Config{}, EmbeddingScale: 1}
	b.Embed = linear("embed", 11, d.Hidden)
	b.Head, b.Norm = b.Embed, norm(d.Hidden)
	b.Layers = []*model.Layer{{
		InputNorm: norm(d.Hidden), PostAttentionNorm: norm(d.Hidden), QNorm: norm(d.HeadDim), KNorm: norm(d.HeadDim),
		Q: linear("q", 24, d.Hidden), K: linear("k", 12, d.Hidden), V: linear("v", 12, d.Hidden), O: linear("o", d.Hidden, 24),
		Gate: linear("gate", 14, d.Hidden), Up: linear("up", 14, d.Hidden), Down: linear("down", d.Hidden, 14), Activation: model.SiLU,
		AttentionScale: 0.3, Rotary: &model.Rotary{InvFreq: []float32{1, 0.1, 0.01}, Scale: 1},
	}}
	m, err := model.New(b, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params.List() {
		for i, v := range random(r, len(p.Data), 0.4) {
			p.Data[i] = v
		}
	}
	return m
}

func random(r *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * scale)
	}
	return x
}

// checkProgram compares the gradients of all inputs of a program with finite
// differences along the gradient and along a random direction.
func checkProgram(t *testing.T, p *program, r run, inputs [][]float32, up []float32) {
	t.Helper()
	value := func() float64 {
		sum := 0.0
		if err := p.do(r, append(inputs, up), func(out [][]float32) {
			for i, v := range out[0] {
				sum += float64(v) * float64(up[i])
			}
		}); err != nil {
			t.Fatal(err)
		}
		return sum
	}
	var grads [][]float32
	if err := p.do(r, append(inputs, up), func(out [][]float32) {
		for _, g := range out[1:] {
			grads = append(grads, append([]float32{}, g...))
		}
	}); err != nil {
		t.Fatal(err)
	}
	rnd, next := rand.New(rand.NewPCG(1, 2)), 0
	for i, x := range inputs {
		name := p.inputs[i].Name()
		if name == "h" { // a constant
			continue
		}
		g := grads[next]
		next++
		for _, direction := range [][]float32{g, random(rnd, len(g), 1)} {
			want, got := along(g, direction), difference(x, direction, value)
			if math.Abs(got-want) > 0.01*math.Abs(want)+0.003*norm(g)+1e-3 {
				t.Errorf("%s: derivative %.6g, finite difference %.6g", name, want, got)
			}
		}
	}
}

func norm(x []float32) float64 { return along(x, x) }

// along is the derivative along a direction of length one.
func along(g, direction []float32) float64 {
	dot, length := 0.0, 0.0
	for i, v := range direction {
		dot += float64(v) * float64(g[i])
		length += float64(v) * float64(v)
	}
	return dot / math.Max(math.Sqrt(length), 1e-30)
}

// difference is the central difference of value along a direction of x.
func difference(x, direction []float32, value func() float64) float64 {
	const eps = 3e-2 // float32 sums leave less than 1e-3 of noise at this distance
	length := 0.0
	for _, v := range direction {
		length += float64(v) * float64(v)
	}
	length = math.Max(math.Sqrt(length), 1e-30)
	was := append([]float32{}, x...)
	at := func(e float64) float64 {
		for i, v := range direction {
			x[i] = was[i] + float32(e*float64(v)/length)
		}
		return value()
	}
	d := (8*(at(eps)-at(-eps)) - (at(2*eps) - at(-2*eps))) / (12 * eps) // fourth order
	copy(x, was)
	return d
}

// specs are blocks that use every switch.
func specs() map[string]model.Spec {
	out := map[string]model.Spec{}
	for _, gate := range model.Gates() {
		for _, feature := range model.Features() {
			for _, update := range []model.Update{model.MemoryLinear, model.MemoryDelta} {
				s := model.Spec{Sink: 1, Window: 4, Segment: 5, Positions: model.PositionsCompact, Memory: update, Feature: feature, FeatureDim: 4, Gate: gate, Map: gate == model.GateVector || gate == model.GateSlot}
				out[fmt.Sprintf("%s-%s-%s", gate, feature, update)] = s
				s.Slots = 3
				out[fmt.Sprintf("%s-%s-%s-slots", gate, feature, update)] = s
				s.Slots, s.WriteGate = 0, true
				out[fmt.Sprintf("%s-%s-%s-write", gate, feature, update)] = s
			}
		}
	}
	out["slots"] = model.Spec{Sink: 1, Window: 4, Segment: 5, Slots: 3, Positions: model.PositionsAbsolute, Memory: model.MemoryNone}
	return out
}

// TestBlockGradients checks x, the slots' scores, the memory and every
// parameter of the block program, with 7 new tokens after 9 stored ones.
func TestBlockGradients(t *testing.T) {
	for name, s := range specs() {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			checkBlock(t, testModel(t, s, r), r)
		})
	}
}

func checkBlock(t *testing.T, m *model.Model, r *rand.Rand) {
	t.Helper()
	s, d, layer, tokens, past := m.Spec, m.Base.Dims, m.Base.Layers[0], 7, 9
	p, err := newBlock(m, shape{tokens: tokens, slots: s.Slots, memory: s.HasMemory()})
	if err != nil {
		t.Fatal(err)
	}
	inputs, pairs := [][]float32{random(r, tokens*d.Hidden, 1)}, len(layer.Rotary.InvFreq)
	a := model.Attention{
		Dims: d, Scale: layer.AttentionScale, PastK: random(r, past*12, 1), PastV: random(r, past*12, 1), Past: past, SlotAt: 2, Soft: true,
		SlidingWindow: layer.SlidingWindow, Cos: random(r, tokens*pairs, 1), Sin: random(r, tokens*pairs, 1),
	}
	if s.Slots > 0 {
		a.Score = random(r, s.Slots*d.KVHeads, 1)
		inputs = append(inputs, a.Score)
	}
	if s.HasMemory() {
		memory := random(r, model.Memory{Spec: s, Dims: d}.Size(), 1)
		for i := d.HeadDim; i < len(memory); i += d.HeadDim + 1 {
			memory[i] = 1 + memory[i]*memory[i] // z is positive
		}
		inputs = append(inputs, memory)
		for _, q := range blockParams(&m.Params.Layers[0]) {
			if q != nil {
				inputs = append(inputs, q.Data)
			}
		}
	}
	checkProgram(t, p, run{layer: layer, attention: a}, inputs, random(r, tokens*d.Hidden, 1))
}

// TestWriteGradients checks the memory before, the scores and the keys'
// feature map of a write of 6 tokens.
func TestWriteGradients(t *testing.T) {
	for name, s := range specs() {
		if !s.HasMemory() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			m := testModel(t, s, r)
			d, tokens := m.Base.Dims, 6
			p, err := newWrite(m, writeKey{tokens, s.HasScore()})
			if err != nil {
				t.Fatal(err)
			}
			memory := random(r, model.Memory{Spec: s, Dims: d}.Size(), 1)
			for i := d.HeadDim; i < len(memory); i += d.HeadDim + 1 {
				memory[i] = 1 + memory[i]*memory[i]
			}
			w := model.Written{Keys: random(r, tokens*12, 1), Values: random(r, tokens*12, 1), Rows: tokens, Sign: -1}
			inputs := [][]float32{memory}
			if s.HasScore() {
				w.Score = random(r, tokens*d.KVHeads, 1)
				inputs = append(inputs, w.Score)
			}
			if f := m.Params.Layers[0].FeatureK; f != nil {
				inputs = append(inputs, f.Data)
			}
			checkProgram(t, p, run{written: w}, inputs, random(r, len(memory), 1))
		})
	}
}

// TestTokenScoreAndHeadGradients checks the two remaining programs.
func TestTokenScoreAndHeadGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	m := testModel(t, specs()["slots"], r)
	p, err := newTokenScore(m, 5)
	if err != nil {
		t.Fatal(err)
	}
	w := m.Params.Layers[0]
	checkProgram(t, p, run{}, [][]float32{random(r, 50, 1), w.RetentionWeight.Data, w.RetentionBias.Data}, random(r, 10, 1))
	if p, err = newHead(m, 16); err != nil {
		t.Fatal(err)
	}
	loss := run{targets: make([]int32, 16), weights: make([]float32, 16)}
	for i := range loss.targets {
		loss.targets[i], loss.weights[i] = int32(i%11), float32(i%3)
	}
	checkProgram(t, p, loss, [][]float32{random(r, 160, 1)}, []float32{1.5})
}

// TestSoftGradients compares the gradients of whole samples with finite
// differences of the loss and the keep penalty: soft slots, one layer (with
// more, the stored states, which are constants by definition, would move too).
func TestSoftGradients(t *testing.T) {
	for name, s := range specs() {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(9, 10))
			checkSample(t, testModel(t, s, r), r)
		})
	}
}

func checkSample(t *testing.T, m *model.Model, r *rand.Rand) {
	t.Helper()
	sample := Sample{IDs: make([]int32, 33), Loss: make([]bool, 33)}
	for i := range sample.IDs {
		sample.IDs[i], sample.Loss[i] = int32(r.IntN(11)), i >= 18 && i%2 == 0
	}
	o := Options{Soft: true, Keep: 0.1, KeepWeight: 2, TokenWeight: 0.3, SampleWeight: 0.7}
	e := NewEngine(m)
	grads := m.Params.Zero()
	value := func() float64 {
		got, err := e.Backward(t.Context(), sample, o, m.Params.Zero())
		if err != nil {
			t.Fatal(err)
		}
		return got.Loss + o.SampleWeight*o.KeepWeight*math.Max(0, got.Kept-o.Keep)
	}
	if _, err := e.Backward(t.Context(), sample, o, grads); err != nil {
		t.Fatal(err)
	}
	last := len(m.Params.Layers) - 1 // what others change in the stored keys is no gradient
	checkGradients(t, m.Params.Layers[last].List(), grads.Layers[last].List(), value)
}

// checkGradients compares gradients with finite differences along them.
func checkGradients(t *testing.T, params, grads []*model.Param, value func() float64) {
	t.Helper()
	for i, p := range params {
		g := grads[i].Data
		want, got := along(g, g), difference(p.Data, g, value)
		if math.Abs(got-want) > 0.02*want+1e-3 {
			t.Errorf("%s: derivative %.6g, finite difference %.6g", p.Name, want, got)
		}
	}
}

// TestTransferGradients compares the gradients of attention transfer with finite
// differences, with windows of less than a segment, too: then the first segment
// writes to the memory, though nothing is compared that early.
func TestTransferGradients(t *testing.T) {
	for name, s := range specs() {
		for _, s.Window = range []int{2, 4} {
			t.Run(fmt.Sprintf("%s-window-%d", name, s.Window), func(t *testing.T) {
				r := rand.New(rand.NewPCG(11, 12))
				m := testModel(t, s, r)
				ids := make([]int32, 27)
				for i := range ids {
					ids[i] = int32(r.IntN(11))
				}
				o := TransferOptions{Keep: 0.1, KeepWeight: 2, Weight: 0.7}
				e := NewEngine(m)
				value := func() float64 {
					got, err := e.Transfer(t.Context(), ids, nil, o, m.Params.Zero())
					if err != nil {
						t.Fatal(err)
					}
					return o.Weight * (got.Errors[0] + o.KeepWeight*math.Max(0, got.Layers[0].Kept-o.Keep))
				}
				grads := m.Params.Zero()
				if _, err := e.Transfer(t.Context(), ids, nil, o, grads); err != nil {
					t.Fatal(err)
				}
				checkGradients(t, m.Params.List(), grads.List(), value)
			})
		}
	}
}

// TestBlockCompilesSmall bounds the nodes of a block program: Gorgonia's
// compile time grows with their square.
func TestBlockCompilesSmall(t *testing.T) {
	p, err := newBlock(testModel(t, modeltest.DefaultBlock(t), rand.New(rand.NewPCG(1, 1))), shape{tokens: 256, slots: 256, memory: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.inputs[0].Graph().AllNodes()); n > 120 {
		t.Errorf("the block's program has %d nodes, want at most 120", n)
	}
}

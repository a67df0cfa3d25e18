package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/kernels"
	"eisft/model/modeltest"
)

// layerOf changes a layer of testModel; d are the base's sizes.
type layerOf func(l *model.Layer, d model.Dims, r *rand.Rand)

// plain leaves a layer as it is.
func plain(*model.Layer, model.Dims, *rand.Rand) {}

// testModel is a random model of one plain layer, or of those given: 4 heads of 6 in 2
// groups, D = 10, with q and k norms and biases, a vocabulary of 11.
func testModel(t testing.TB, s model.Spec, r *rand.Rand, layers ...layerOf) *model.Model {
	t.Helper()
	d := model.Dims{Heads: 4, KVHeads: 2, HeadDim: 6, Hidden: 10}
	b := &model.Base{Dims: d, Config: &hf.Config{}, EmbeddingScale: 1}
	b.Embed = randomLinear(r, "embed", 11, d.Hidden)
	b.Head, b.Norm = b.Embed, randomNorm(r, d.Hidden)
	if layers == nil {
		layers = []layerOf{plain}
	}
	for i, change := range layers {
		l := &model.Layer{
			Index: i, InputNorm: randomNorm(r, d.Hidden), PostAttentionNorm: randomNorm(r, d.Hidden), QNorm: randomNorm(r, d.HeadDim), KNorm: randomNorm(r, d.HeadDim),
			Q: randomLinear(r, "q", 24, d.Hidden), K: randomLinear(r, "k", 12, d.Hidden), V: randomLinear(r, "v", 12, d.Hidden), O: randomLinear(r, "o", d.Hidden, 24),
			Gate: randomLinear(r, "gate", 14, d.Hidden), Up: randomLinear(r, "up", 14, d.Hidden), Down: randomLinear(r, "down", d.Hidden, 14), Activation: model.SiLU,
			AttentionScale: 0.4, Rotary: &model.Rotary{InvFreq: []float32{1, 0.1, 0.01}, Scale: 1},
		}
		change(l, d, r)
		b.Layers = append(b.Layers, l)
	}
	m, err := model.New(b, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	randomParams(m, r)
	return m
}

// randomParams fills the parameters so that the memory counts.
func randomParams(m *model.Model, r *rand.Rand) {
	for _, p := range m.Params.List() {
		copy(p.Data, random(r, len(p.Data), 0.4))
	}
	for _, l := range m.Params.Layers {
		for i := 0; m.Spec.Decays() && i < len(l.RetentionBias.Data); i++ {
			l.RetentionBias.Data[i] += 3
		}
		for _, p := range l.Gate[:min(1, len(l.Gate))] { // the bias
			for i := range p.Data {
				p.Data[i]++
			}
		}
	}
}

func randomLinear(r *rand.Rand, name string, out, in int) *model.Linear {
	return model.NewLinear(name, in, out, random(r, out*in, 0.5), random(r, out, 0.5))
}

func randomNorm(r *rand.Rand, n int) *model.Norm {
	w := random(r, n, 0.3)
	for i := range w {
		w[i]++
	}
	return &model.Norm{Weight: w, Eps: 1e-5}
}

func random(r *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * scale)
	}
	return x
}

// checkProgram checks the gradients of all inputs of a program, but for those named,
// which are checked elsewhere.
func checkProgram(t *testing.T, m *model.Model, k key, r run, but ...string) {
	t.Helper()
	k.valued = true
	p, err := newProgram(m, k, r.layer)
	if err != nil {
		t.Fatal(err)
	}
	all := gradientsOf(t, p, r)
	g := modeltest.Gradients{Value: func() (sum float64) {
		r.result = func(y []float32) { sum = along(y, r.upstream) }
		if err := p.do(r); err != nil {
			t.Fatal(err)
		}
		return sum
	}}
	g.Check(t, slices.DeleteFunc(all, func(x modeltest.Tensor) bool { return slices.Contains(but, x.Name) })...)
}

// gradientsOf runs a program and returns its inputs with their gradients. It says where
// those go of what the run binds.
func gradientsOf(t *testing.T, p *program, r run) []modeltest.Tensor {
	t.Helper()
	var all []modeltest.Tensor
	for _, in := range p.inputs {
		if in.role != nil || in.grad == nil {
			continue
		}
		i := slices.IndexFunc(r.inputs, func(b binding) bool { return b.name == in.name })
		at := len(all)
		all = append(all, modeltest.Tensor{Name: in.name, X: r.inputs[i].values})
		r.inputs[i].grad = func(g []float32) {
			if all[at].Grad == nil {
				all[at].Grad = slices.Clone(g)
			}
		}
	}
	if err := p.do(r); err != nil {
		t.Fatal(err)
	}
	for _, in := range p.inputs {
		if in.role != nil {
			all = append(all, modeltest.Tensor{Name: in.name, X: in.role(r.params).Data, Grad: slices.Clone(in.role(r.grads).Data)})
		}
	}
	return all
}

// along is the dot product.
func along(x, y []float32) (sum float64) {
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return sum
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
	alone := model.Spec{Sink: 1, Window: 4, Segment: 5, Slots: 3, Positions: model.PositionsAbsolute, Memory: model.MemoryNone}
	out["slots"] = alone
	mlp := model.Retention{Form: model.RetentionMLP, Hidden: 3}
	alone.Retention = mlp
	out["slots-mlp"] = alone
	alone.Retention.Decay = true
	out["slots-mlp-decay"] = alone
	with := out["slot-hedgehog-linear-slots"]
	with.Retention.Decay = true
	out["slot-hedgehog-linear-slots-decay"] = with
	with.Retention = mlp
	out["slot-hedgehog-linear-slots-mlp"] = with
	return out
}

// TestBlockGradients checks x, the slots' scores, the memory and every parameter of the
// block program, with 7 new tokens after 9 stored ones.
func TestBlockGradients(t *testing.T) {
	for name, s := range specs() {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			m := testModel(t, s, r)
			k, run := blockOf(m, 0, 7, r)
			checkProgram(t, m, k, run)
			if !crosses(s) {
				return
			}
			checkHardSlots(t, m, k, run)
			if s.HasMemory() {
				k.memory, run.inputs = false, slices.DeleteFunc(run.inputs, func(b binding) bool { return b.name == "memory" })
				checkProgram(t, m, k, run)
			}
		})
	}
}

// TestLongBlockGradients checks blocks of more new tokens than attention takes at a time.
func TestLongBlockGradients(t *testing.T) {
	for _, name := range []string{"slots", "slot-hedgehog-linear-slots"} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(29, 30))
			m := testModel(t, specs()[name], r)
			k, run := blockOf(m, 0, 70, r)
			checkProgram(t, m, k, run)
		})
	}
}

// crosses says whether a block of specs is one that checks of what is the same for all
// gates of a sort are made with: there is one that is mixed and one that is a column.
func crosses(s model.Spec) bool {
	return !s.HasMemory() || s.Gate == model.GateVector || s.Gate == model.GateSlot
}

// blockOf returns layer i's block program for a number of new tokens, and a run of it on
// random values with 9 stored ones.
func blockOf(m *model.Model, i, tokens int, r *rand.Rand) (key, run) {
	const past = 9
	s, d, layer := m.Spec.At(i), m.Base.Dims, m.Base.Layers[i]
	pairs := len(layer.Rotary.InvFreq)
	k := key{kind: blockKind, form: formOf(m, i), rows: tokens, scores: s.Slots, memory: s.HasMemory()}
	out := run{
		inputs: []binding{{name: "x", values: random(r, tokens*d.Hidden, 1)}}, upstream: random(r, tokens*d.Hidden, 1),
		layer: layer, params: &m.Params.Layers[i], grads: &m.Params.Zero().Layers[i],
	}
	out.attention = model.Attention{
		Dims: d, Scale: layer.AttentionScale, Softcap: layer.AttentionSoftcap, PastK: random(r, past*12, 1), PastV: random(r, past*12, 1), Past: past, SlotAt: 2, Soft: true,
		SlidingWindow: layer.SlidingWindow, Cos: random(r, tokens*pairs, 1), Sin: random(r, tokens*pairs, 1),
		QueryWeight: layer.QueryWeight,
	}
	if s.Slots > 0 {
		out.attention.Score, out.attention.Decay, out.attention.First = random(r, s.Slots*d.KVHeads, 1), s.Decays(), past
		for i := range s.Slots * d.KVHeads {
			if s.Decays() {
				out.attention.Score[i] += 3
			}
			out.attention.Token = append(out.attention.Token, int32(i%4))
		}
		out.inputs = append(out.inputs, binding{name: "score", values: out.attention.Score})
	}
	if k.memory {
		out.inputs = append(out.inputs, binding{name: "memory", values: randomMemory(m, r)})
	}
	return k, out
}

// randomMemory is a layer's memory [K,F,d+1] with a positive z.
func randomMemory(m *model.Model, r *rand.Rand) []float32 {
	d := m.Base.Dims.HeadDim
	memory := random(r, model.Memory{Spec: m.Spec, Dims: m.Base.Dims}.Size(), 1)
	for i := d; i < len(memory); i += d + 1 {
		memory[i] = 1 + memory[i]*memory[i]
	}
	return memory
}

// checkHardSlots checks a block program with slots that are chosen hard. All gradients
// but that of the scores are derivatives with the choice as it is. That of the scores
// goes straight through: the value does not depend on them, the gradient is the one of
// log σ(ρ), if that were added to the logits. So it is σ(-ρ) times the gradient of what
// is added, which soft slots have, too, and where nothing is added: log σ(ρ) is next to
// zero at ρ = 18.
func checkHardSlots(t *testing.T, m *model.Model, k key, r run) {
	t.Helper()
	if k.scores == 0 {
		return
	}
	r.attention.Soft = false
	r.grads = &m.Params.Zero().Layers[r.layer.Index]
	checkProgram(t, m, k, r, "score")
	const kept = 18
	of := func(soft bool) []float32 {
		p, err := newProgram(m, k, r.layer)
		if err != nil {
			t.Fatal(err)
		}
		r.attention.Soft = soft
		all := gradientsOf(t, p, r)
		return all[slices.IndexFunc(all, func(x modeltest.Tensor) bool { return x.Name == "score" })].Grad
	}
	got, score := of(false), slices.Clone(r.attention.Score)
	for i := range score {
		r.attention.Score[i] = kept
	}
	want := of(true)
	copy(r.attention.Score, score)
	for i, v := range score {
		want[i] *= kernels.Sigmoid1(-v) / kernels.Sigmoid1(-kept)
		if want[i] == 0 {
			t.Errorf("score %d has no gradient", i)
		}
	}
	modeltest.Near(t, "gradient of the scores", got, want, 1e-4)
}

// TestWriteGradients checks the memory before, the scores and the keys' feature map of a
// write of 6 tokens.
func TestWriteGradients(t *testing.T) {
	for name, s := range specs() {
		if !s.HasMemory() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			m := testModel(t, s, r)
			const tokens = 6
			k := key{kind: writeKind, form: formOf(m, 0), rows: tokens}
			run := run{
				inputs: []binding{{name: "memory", values: randomMemory(m, r)}},
				layer:  m.Base.Layers[0], params: &m.Params.Layers[0], grads: &m.Params.Zero().Layers[0],
				written: model.Written{Keys: random(r, tokens*12, 1), Values: random(r, tokens*12, 1), Rows: tokens, Sign: s.ScoreSign()},
			}
			run.upstream = random(r, len(run.inputs[0].values), 1)
			if s.HasScore() {
				k.scores, run.written.Score = tokens, random(r, tokens*m.Base.Dims.KVHeads, 1)
				if s.Decays() {
					run.written.Age = model.Ages(7, []int32{0, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5})
				}
				run.inputs = append(run.inputs, binding{name: "score", values: run.written.Score})
			}
			checkProgram(t, m, k, run)
		})
	}
}

// TestTokenScoreAndHeadGradients checks the two remaining programs.
func TestTokenScoreAndHeadGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	m := testModel(t, specs()["slots"], r)
	for _, m := range []*model.Model{m, testModel(t, specs()["slots-mlp"], r)} {
		checkProgram(t, m, key{kind: scoreKind, rows: 5}, run{
			inputs: []binding{{name: "h", values: random(r, 50, 1)}}, upstream: random(r, 10, 1),
			layer: m.Base.Layers[0], params: &m.Params.Layers[0], grads: &m.Params.Zero().Layers[0],
		})
	}
	loss := run{inputs: []binding{{name: "x", values: random(r, 160, 1)}}, upstream: []float32{1.5}, targets: make([]int32, 16), weights: make([]float32, 16)}
	for i := range loss.targets {
		loss.targets[i], loss.weights[i] = int32(i%11), float32(1+i%3)
	}
	checkProgram(t, m, key{kind: headKind, rows: 16}, loss)
	m.Base.LogitScale, m.Base.LogitSoftcap = 0.7, 3
	checkProgram(t, m, key{kind: headKind, rows: 16}, loss)
}

// TestSoftGradients compares the gradients of whole samples with differences of the loss
// and the keep penalty as the stream computes them: soft slots, one layer. With more, the
// stored states, which are constants by definition, would move too; with hard slots the
// choice would. [TestRecordedGradients] has both.
func TestSoftGradients(t *testing.T) {
	for name, s := range specs() {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(9, 10))
			m := testModel(t, s, r)
			sample, o, e := testSample(r), softOptions(), NewEngine(m, nil)
			grads := m.Params.Zero()
			if _, err := e.Backward(t.Context(), sample, o, grads); err != nil {
				t.Fatal(err)
			}
			g := modeltest.Gradients{Value: func() float64 { return streamed(t, e, sample, o) }}
			g.CheckParams(t, m.Params, grads)
		})
	}
}

// TestNoGradientsInsideTheWindow checks that a text of which nothing leaves the window has
// no gradients: the block is the base's own attention.
func TestNoGradientsInsideTheWindow(t *testing.T) {
	for name, s := range specs() {
		if !crosses(s) {
			continue
		}
		r := rand.New(rand.NewPCG(31, 32))
		m, sample := testModel(t, s, r), testSample(r)
		n := s.Sink + s.Window + s.Segment - 1 // the last segment is not full
		sample.IDs, sample.Loss = sample.IDs[:n], sample.Loss[18:18+n]
		e, grads, zero := NewEngine(m, nil), m.Params.Zero(), map[string]string{}
		if _, err := e.Backward(t.Context(), sample, softOptions(), grads); err != nil {
			t.Fatal(err)
		}
		for _, p := range grads.List() {
			zero[p.Name] = name + ": nothing has left the window"
		}
		g := modeltest.Gradients{Zero: zero, Value: func() float64 { return streamed(t, e, sample, softOptions()) }}
		g.CheckParams(t, m.Params, grads)
	}
}

// streamed is the loss with the keep penalty as the stream computes it.
func streamed(t *testing.T, e *Engine, s Sample, o Options) float64 {
	t.Helper()
	p, err := e.newPass(s, o, e.model.Params.Zero())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.stream.Feed(t.Context(), s.IDs, p.rows[0], nil); err != nil {
		t.Fatal(err)
	}
	p.dOutput = make([][]float32, len(p.tape.live))
	loss, err := p.loss()
	if err != nil {
		t.Fatal(err)
	}
	kept := p.penalise()
	excess := p.stats[0].Excess // of the only layer
	if e.model.Spec.Slots > 0 && len(s.IDs) > 20 && excess == 0 {
		t.Error("nothing exceeds the capacity, so that its gradient is not checked")
	}
	return loss + o.SampleWeight*(o.KeepWeight*math.Max(0, kept-o.Keep)+o.CapacityWeight*excess)
}

// testSample is a text of 33 tokens of which some of the last 15 are answers.
func testSample(r *rand.Rand) Sample {
	s := Sample{IDs: make([]int32, 33), Loss: make([]bool, 33)}
	for i := range s.IDs {
		s.IDs[i], s.Loss[i] = int32(r.IntN(11)), i >= 18 && i%2 == 0
	}
	return s
}

func softOptions() Options {
	return Options{Soft: true, Penalty: Penalty{Keep: 0.1, KeepWeight: 2, Capacity: 1, CapacityWeight: 0.4}, TokenWeight: 0.3, SampleWeight: 0.7}
}

// TestTransferGradients compares the gradients of attention transfer with differences,
// with windows of less than half a segment, too: then the first segment writes to the
// memory, though nothing is compared that early.
func TestTransferGradients(t *testing.T) {
	for name, s := range specs() {
		for _, s.Window = range []int{2, 4} {
			if !crosses(s) {
				continue
			}
			t.Run(fmt.Sprintf("%s-window-%d", name, s.Window), func(t *testing.T) {
				r := rand.New(rand.NewPCG(11, 12))
				checkTransfer(t, testModel(t, s, r), r)
			})
		}
	}
}

func checkTransfer(t *testing.T, m *model.Model, r *rand.Rand) {
	t.Helper()
	ids, importance := make([]int32, 27), make([]float32, 27)
	for i := range ids {
		ids[i], importance[i] = int32(r.IntN(11)), 0.5+r.Float32()
	}
	o, e, grads := TransferOptions{Penalty: Penalty{Keep: 0.1, KeepWeight: 2, Capacity: 1, CapacityWeight: 0.4}, Weight: 0.7}, NewEngine(m, nil), m.Params.Zero()
	if _, err := e.Transfer(t.Context(), ids, importance, o, grads); err != nil {
		t.Fatal(err)
	}
	g := modeltest.Gradients{Value: func() (sum float64) {
		got, err := e.Transfer(t.Context(), ids, importance, o, m.Params.Zero())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range got.Errors {
			sum += o.Weight * v
		}
		for _, l := range got.Layers {
			sum += o.Weight * (o.KeepWeight*math.Max(0, l.Kept-o.Keep) + o.CapacityWeight*l.Excess)
		}
		return sum
	}}
	g.CheckParams(t, m.Params, grads)
}

// TestBlockCompilesSmall bounds the nodes of a block program: Gorgonia's compile time
// grows with their square.
func TestBlockCompilesSmall(t *testing.T) {
	m := testModel(t, modeltest.DefaultBlock(t), rand.New(rand.NewPCG(1, 1)))
	p, err := newProgram(m, key{kind: blockKind, form: formOf(m, 0), rows: 256, scores: 256, memory: true}, m.Base.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.result.Graph().AllNodes()); n > 120 {
		t.Errorf("the block's program has %d nodes, want at most 120", n)
	}
}

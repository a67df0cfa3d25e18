package graph

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
)

// TestFitGradients checks the gradients of every map of a layer's reconstruction: through
// attention, the memory, norms, caps and biases, and where activations are moved, as by
// rounding. Blocks differ in what the memory's read is joined by.
func TestFitGradients(t *testing.T) {
	layers := map[string]layerOf{"plain": plain, "gemma": gemma, "layer norms": layerNorms}
	maps.Copy(layers, variants)
	for _, name := range []string{"slots", "slot-hedgehog-linear-slots", "vector-elu-delta", "scalar-hedgehog-linear-write"} {
		for what, change := range layers {
			t.Run(name+"/"+what, func(t *testing.T) {
				r := rand.New(rand.NewPCG(41, 42))
				m := testModel(t, specs()[name], r, change)
				k, run := fitOf(m, r)
				checkProgram(t, m, k, run)
				k.rounded, run.round, run.grads = true, moved, &m.Params.Zero().Layers[0]
				checkProgram(t, m, k, run)
			})
		}
	}
}

// moved adds numbers that know nothing of x: its gradient is that of what goes straight
// through.
func moved(l *model.Layer, at Site, x []float32) {
	for i := range x {
		x[i] += 0.1 * float32(math.Sin(float64(i+len(at.Map)+len(at.Norm))))
	}
}

// fitOf returns layer 0's reconstruction with 7 new tokens after 9 stored ones.
func fitOf(m *model.Model, r *rand.Rand) (key, run) {
	const tokens = 7
	k, run := blockOf(m, 0, tokens, r)
	k.kind, k.scores = fitKind, 0
	run.attention.Score = nil
	run.inputs = slices.DeleteFunc(run.inputs, func(b binding) bool { return b.name == "score" })
	for role, l := range run.layer.Maps() {
		run.inputs = append(run.inputs, binding{name: string(role), values: l.Weight()})
	}
	run.upstream, run.weights, run.wanted = []float32{1}, make([]float32, tokens), random(r, tokens*m.Base.Dims.Hidden, 1)
	for i := range run.weights {
		run.weights[i] = 0.5 + r.Float32()
	}
	return k, run
}

// TestFitIsTheStream: with its own maps a layer is where it was streamed, for every family,
// and with activations that are moved; with other maps it is not.
func TestFitIsTheStream(t *testing.T) {
	spec := model.Spec{
		Sink: 2, Window: 9, Segment: 10, Slots: 5, Positions: model.PositionsCompact,
		Memory: model.MemoryLinear, Feature: model.FeatureHedgehog, Gate: model.GateSlot,
	}
	for _, name := range families {
		for _, r := range []*Rounding{nil, rounding} {
			t.Run(fmt.Sprintf("%s/rounded=%v", name, r != nil), func(t *testing.T) {
				e := NewEngine(familyModel(t, name, spec), r)
				for i := range e.model.Base.Layers {
					checkStretches(t, e, i)
				}
			})
		}
	}
}

func checkStretches(t *testing.T, e *Engine, i int) {
	t.Helper()
	list, err := e.Stretches(t.Context(), randomIDs(e.model, 45), i, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 5 || list[4].First != 40 || list[4].past.memory == nil {
		t.Fatalf("%d stretches, the last from token %d on", len(list), list[len(list)-1].First)
	}
	own, grads := map[model.Role][]float32{}, map[model.Role][]float32{}
	for role, l := range e.model.Base.Layers[i].Maps() {
		own[role], grads[role] = slices.Clone(l.Weight()), make([]float32, l.In*l.Out)
	}
	for j, s := range list {
		loss, err := e.Fit(i, &s, s.Output, 1, own, grads)
		if energy := along(s.Output, s.Output); err != nil || !(loss < 1e-9*energy) {
			t.Errorf("layer %d, stretch %d: squared distance %g of %g (%v)", i, j, loss, energy, err)
		}
		for role := range own {
			other := maps.Clone(own)
			other[role] = slices.Clone(own[role])
			for k := range other[role] {
				other[role][k] *= 1.5
			}
			if moved, err := e.Fit(i, &s, s.Output, 1, other, grads); err != nil || !(moved > 100*loss) && !normed(e.model.Base.Layers[i], role) {
				t.Errorf("layer %d, stretch %d: squared distance %g with %s times 1.5 (%v)", i, j, moved, role, err)
			}
		}
	}
	if _, err := e.Fit(i, &list[0], list[0].Output, 1, own, nil); err == nil {
		t.Error("no error for gradients that have no room")
	}
}

// normed says whether a norm takes the size of what a map puts out away.
func normed(l *model.Layer, role model.Role) bool {
	return l.QNorm != nil && (role == model.RoleQuery || role == model.RoleKey)
}

// rounding moves activations in streams and in programs alike.
var rounding = &Rounding{Wrap: func(o model.Ops[[]float32], _ int) model.Ops[[]float32] { return &coarse{o} }, Round: onGrid}

// onGrid rounds to multiples of 1/1024 what maps read and put out.
func onGrid(_ *model.Layer, at Site, x []float32) {
	if at.Norm != "" {
		return
	}
	for i, v := range x {
		x[i] = float32(math.RoundToEven(float64(v)*1024)) / 1024
	}
}

// coarse is onGrid for a stream's backend.
type coarse struct{ model.Ops[[]float32] }

func (c *coarse) Linear(l *model.Linear, x []float32) []float32 {
	onGrid(nil, Site{}, x)
	y := c.Ops.Linear(l, x)
	onGrid(nil, Site{}, y)
	return y
}

// TestRoundedTraining: samples and attention transfer of a model whose activations are
// rounded flow as they are streamed, and their gradients go straight through: where
// activations are moved, and not rounded, they are what differences say.
func TestRoundedTraining(t *testing.T) {
	shifts := &Rounding{Wrap: func(o model.Ops[[]float32], _ int) model.Ops[[]float32] { return &shifted{o} }, Round: shift}
	for _, name := range []string{"slots", "slot-hedgehog-linear-slots", "vector-elu-delta"} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(43, 44))
			m := testModel(t, specs()[name], r)
			sample, o, e := testSample(r), softOptions(), NewEngine(m, shifts)
			grads := m.Params.Zero()
			got, err := e.Backward(t.Context(), sample, o, grads)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := NewEngine(m, nil).Backward(t.Context(), sample, o, m.Params.Zero())
			if err != nil || math.Abs(plain.Loss-got.Loss) < 1e-4 {
				t.Errorf("loss %g with moved activations, %g without (%v)", got.Loss, plain.Loss, err)
			}
			g := modeltest.Gradients{Value: func() float64 { return streamed(t, e, sample, o) }}
			g.CheckParams(t, m.Params, grads)
		})
	}
	// A block that keeps everything is the base, whose attention is rounded, too.
	spec := model.Spec{Window: 9, Segment: 10, Slots: 5, Positions: model.PositionsCompact, Memory: model.MemoryNone}
	m := familyModel(t, "qwen2", spec)
	for _, l := range m.Params.Layers {
		clear(l.RetentionWeight.Data)
		for g := range l.RetentionBias.Data {
			l.RetentionBias.Data[g] = 40 // log σ = 0
		}
	}
	got, err := NewEngine(m, rounding).Transfer(t.Context(), randomIDs(m, 60), nil, TransferOptions{Weight: 1}, m.Params.Zero())
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range got.Errors {
		if !(e < 1e-9) {
			t.Errorf("attention transfer, layer %d: relative error %g", i, e)
		}
	}
	p := recordedPassOf(t, NewEngine(familyModel(t, "qwen3", specs()["slot-hedgehog-linear-slots"]), rounding), false)
	for _, s := range p.tape.live {
		modeltest.Near(t, fmt.Sprintf("segment %d", s.index), p.forward(t, 0, s), s.inputs[1], 1e-5)
	}
}

// shift moves what a map reads or puts out by a number that its size gives.
func shift(_ *model.Layer, at Site, x []float32) {
	if at.Norm == "" {
		for i := range x {
			x[i] += 0.05
		}
	}
}

// shifted is shift for a stream's backend.
type shifted struct{ model.Ops[[]float32] }

func (s *shifted) Linear(l *model.Linear, x []float32) []float32 {
	if l.Name != "k" && l.Name != "v" && l.Name != "up" { // which read what is moved already
		shift(nil, Site{}, x)
	}
	y := s.Ops.Linear(l, x)
	shift(nil, Site{}, y)
	return y
}

// BenchmarkFit is a step of a layer's reconstruction: one stretch of a segment of the demo
// base, with a full cache and memory.
func BenchmarkFit(b *testing.B) {
	m := modeltest.Open(b, testfiles.Base(b, "demo"), modeltest.DefaultBlock(b))
	e := NewEngine(m, nil)
	list, err := e.Stretches(b.Context(), randomIDs(m, 4*m.Spec.Segment), 3, nil)
	if err != nil {
		b.Fatal(err)
	}
	own, grads := map[model.Role][]float32{}, map[model.Role][]float32{}
	for role, l := range m.Base.Layers[3].Maps() {
		own[role], grads[role] = l.Weight(), make([]float32, l.In*l.Out)
	}
	for b.Loop() {
		if _, err := e.Fit(3, &list[3], list[3].Output, 1, own, grads); err != nil {
			b.Fatal(err)
		}
	}
}

package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// positionBlocks are blocks without memory, with slots and without.
func positionBlocks(p model.Positions) map[string]model.Spec {
	with := model.Spec{Sink: 2, Window: 6, Segment: 5, Slots: 3, Positions: p, Memory: model.MemoryNone}
	without := with
	without.Slots, without.Memory, without.Feature, without.Gate = 0, model.MemoryLinear, model.FeatureELU, model.GateScalar
	return map[string]model.Spec{"slots": with, "memory": without}
}

// TestTransferSeesWhatTheStreamSees compares keys, values and rotary tables of attention
// transfer, with absolute positions, with those of a soft stream over the same text: in
// one layer both have the same inputs.
func TestTransferSeesWhatTheStreamSees(t *testing.T) {
	for name, spec := range positionBlocks(model.PositionsAbsolute) {
		t.Run(name, func(t *testing.T) {
			m := testModel(t, spec, rand.New(rand.NewPCG(1, 2)))
			p := recordedPass(t, m, true)
			tr := taught(t, m, randomIDs(m, 40))
			compared := 0
			for _, live := range p.tape.live {
				from, to := tr.left(0, live.index)
				if want := live.past[0].attention; from < to {
					got := tr.attention(0, live.index*5)
					if spec.Slots == 0 {
						got = tr.windowOnly(got, from, to)
					}
					if got.Past != want.Past {
						t.Errorf("segment %d: %d tokens are seen, want %d", live.index, got.Past, want.Past)
					}
					modeltest.Near(t, "keys", got.PastK, want.PastK, 1e-6)
					modeltest.Near(t, "values", got.PastV, want.PastV, 1e-6)
					modeltest.Near(t, "cosines", got.Cos, want.Cos, 1e-6)
					modeltest.Near(t, "sines", got.Sin, want.Sin, 1e-6)
					compared++
				}
			}
			if compared < 5 {
				t.Errorf("%d segments compared", compared)
			}
		})
	}
}

// taught is attention transfer of a text up to where layers are fitted.
func taught(t *testing.T, m *model.Model, ids []int32) *transfer {
	t.Helper()
	e := NewEngine(m, nil)
	tr := &transfer{plan: m.Spec.Plan(len(m.Base.Layers)), stateGrads: e.newStateGrads(m.Params.Zero(), len(ids)), tokens: len(ids)}
	tr.plan.Soft = true
	if err := tr.teach(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestTransferPositions compares the loss of attention transfer with one that is summed
// up key by key, each at the position that the method gives it.
func TestTransferPositions(t *testing.T) {
	losses := map[model.Positions]float64{}
	for _, positions := range []model.Positions{model.PositionsCompact, model.PositionsAbsolute} {
		spec := positionBlocks(positions)["slots"]
		m := testModel(t, spec, rand.New(rand.NewPCG(3, 4)))
		ids := randomIDs(m, 40)
		got, err := NewEngine(m, nil).Transfer(t.Context(), ids, nil, TransferOptions{Penalty: Penalty{Keep: 1}, Weight: 1}, m.Params.Zero())
		if err != nil {
			t.Fatal(err)
		}
		want := slowTransfer(m, ids, func(j, first int) int {
			if positions == model.PositionsAbsolute || j < spec.Sink {
				return j
			}
			return j - first + spec.Sink + spec.Window
		})
		if losses[positions] = got.Errors[0]; math.Abs(got.Errors[0]-want) > 1e-4*want {
			t.Errorf("%s: loss %.6g, want %.6g", positions, got.Errors[0], want)
		}
	}
	a, b := losses[model.PositionsCompact], losses[model.PositionsAbsolute]
	if fmt.Sprintf("%.3g", a) == fmt.Sprintf("%.3g", b) {
		t.Errorf("compact and absolute positions have the same loss %g", a)
	}
}

// TestTransferImportance: what tokens are compared by is weighed, above and below the
// fraction. The error of all tokens is then a mean of the errors of any two parts of them.
func TestTransferImportance(t *testing.T) {
	m := testModel(t, positionBlocks(model.PositionsCompact)["slots"], rand.New(rand.NewPCG(3, 4)), plain, plain)
	ids := randomIDs(m, 40)
	parts := [2][]float32{make([]float32, len(ids)), make([]float32, len(ids))}
	for i := range ids {
		parts[i%2][i] = 1
	}
	loss := func(importance []float32) TransferResult {
		r, err := NewEngine(m, nil).Transfer(t.Context(), ids, importance, TransferOptions{Penalty: Penalty{Keep: 1}, Weight: 1}, m.Params.Zero())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	all, a, b := loss(nil), loss(parts[0]).Errors[0], loss(parts[1]).Errors[0]
	if e := all.Errors[0]; e < min(a, b) || e > max(a, b) || a == b {
		t.Errorf("error %g, but %g and %g of the two halves", e, a, b)
	}
	kept := 0.0
	for _, l := range all.Layers {
		kept += l.Kept / float64(len(all.Layers))
	}
	if math.Abs(all.Kept-kept) > 1e-9 || kept == 0 {
		t.Errorf("kept %g, want the layers' mean %g", all.Kept, kept)
	}
}

// slowTransfer is the relative error of a one-layer block with soft slots and no memory,
// whose j-th token has the given position for the segment that begins at `first`.
func slowTransfer(m *model.Model, ids []int32, position func(j, first int) int) float64 {
	l, s, d, n := m.Base.Layers[0], m.Spec, m.Base.Dims, len(ids)
	x := make([]float32, n*d.Hidden)
	for t, id := range ids {
		copy(x[t*d.Hidden:], m.Base.Embed.Weight()[int(id)*d.Hidden:][:d.Hidden])
	}
	l.InputNorm.Apply(x, x)
	project := func(w *model.Linear, norm *model.Norm) []float32 {
		y := make([]float32, n*w.Out)
		if w.Apply(y, x); norm != nil {
			norm.Apply(y, y)
		}
		return y
	}
	q, k, v := project(l.Q, l.QNorm), project(l.K, l.KNorm), project(l.V, nil)
	rho := make([]float32, n*d.KVHeads)
	m.Params.Layers[0].TokenScore().Apply(rho, x, n)

	// attend is the output of token t, where keys have positions and logits a bias.
	attend := func(t int, position func(j int) int, bias func(j, g int) float64) []float32 {
		out := make([]float32, d.Heads*d.HeadDim)
		for h := range d.Heads {
			g, sum, acc := h/(d.Heads/d.KVHeads), 0.0, make([]float64, d.HeadDim)
			qr := rotated(l.Rotary, q[(t*d.Heads+h)*d.HeadDim:][:d.HeadDim], position(t))
			for j := range t + 1 {
				kr, dot := rotated(l.Rotary, k[(j*d.KVHeads+g)*d.HeadDim:][:d.HeadDim], position(j)), 0.0
				for i := range kr {
					dot += qr[i] * kr[i]
				}
				p := math.Exp(dot*float64(l.AttentionScale) + bias(j, g))
				sum += p
				for i := range acc {
					acc[i] += p * float64(v[(j*d.KVHeads+g)*d.HeadDim+i])
				}
			}
			for i := range acc {
				out[h*d.HeadDim+i] = float32(acc[i] / sum)
			}
		}
		y := make([]float32, d.Hidden)
		l.O.Apply(y, out)
		return y
	}
	diff, norm := 0.0, 0.0
	for t := 2 * s.Segment; t < n; t++ {
		first := t / s.Segment * s.Segment
		full := attend(t, func(j int) int { return j }, func(int, int) float64 { return 0 })
		block := attend(t, func(j int) int { return position(j, first) }, func(j, g int) float64 {
			if j < s.Sink || j >= first-s.Window {
				return 0
			}
			return -math.Log1p(math.Exp(-float64(rho[j*d.KVHeads+g])))
		})
		for i := range full {
			diff += math.Pow(float64(block[i]-full[i]), 2)
			norm += math.Pow(float64(full[i]), 2)
		}
	}
	return diff / norm
}

// rotated is a head after rotary embedding.
func rotated(r *model.Rotary, x []float32, position int) []float64 {
	y, m := make([]float64, len(x)), len(r.InvFreq)
	for i, f := range r.InvFreq {
		sin, cos := math.Sincos(float64(position) * float64(f))
		a, b := float64(x[i]), float64(x[i+m])
		y[i], y[i+m] = a*cos-b*sin, b*cos+a*sin
	}
	return y
}

package graph

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// answers is the golden's sample: tokens 81 to 103 count.
func answers(e *modeltest.Edge) Sample {
	s := Sample{IDs: e.IDs, Loss: make([]bool, len(e.IDs))}
	for i := 81; i < len(e.IDs); i++ {
		s.Loss[i] = true
	}
	return s
}

// TestEdgeGradients compares loss and every gradient with the reference, with slots that
// are chosen hard, and where the golden has them with soft ones and their penalty.
func TestEdgeGradients(t *testing.T) {
	for _, name := range modeltest.Edges {
		t.Run(name, func(t *testing.T) {
			e := modeltest.OpenEdge(t, name)
			compareSample(t, e, "", Options{TokenWeight: 1. / 23})
			if e.Has("soft.loss") {
				keep, weight := e.Keep(t)
				r := compareSample(t, e, "soft.", Options{Soft: true, Penalty: Penalty{Keep: keep, KeepWeight: weight}, TokenWeight: 1. / 23, SampleWeight: 1})
				wantValue(t, "kept", r.Kept, e.Floats(t, "soft.kept")[0])
			}
		})
	}
}

// compareSample compares a pass over the golden's sample with the tensors of a prefix.
func compareSample(t *testing.T, e *modeltest.Edge, prefix string, o Options) Result {
	t.Helper()
	grads := e.Model.Params.Zero()
	r, err := NewEngine(e.Model, nil).Backward(t.Context(), answers(e), o, grads)
	if err != nil {
		t.Fatal(err)
	}
	wantValue(t, prefix+"loss", r.Loss, e.Floats(t, prefix+"loss")[0])
	compareGradients(t, e, prefix+"grad.", grads)
	return r
}

// TestEdgeTransfer compares loss and gradients of attention transfer over the
// first 96 tokens with the reference.
func TestEdgeTransfer(t *testing.T) {
	for _, name := range modeltest.Edges {
		if name == "elu-vector-map-delta" { // made before the reference distilled with the delta rule
			continue
		}
		t.Run(name, func(t *testing.T) {
			e := modeltest.OpenEdge(t, name)
			grads := e.Model.Params.Zero()
			keep, weight := e.Keep(t)
			r, err := NewEngine(e.Model, nil).Transfer(t.Context(), e.IDs[:96], nil, TransferOptions{Penalty: Penalty{Keep: keep, KeepWeight: weight}, Weight: 1}, grads)
			if err != nil {
				t.Fatal(err)
			}
			trained := 0
			for i := range e.Model.Base.Layers {
				if len(e.Model.Params.Layers[i].List()) == 0 {
					continue
				}
				wantValue(t, fmt.Sprintf("layer %d: relative error", i), r.Errors[trained], e.Floats(t, fmt.Sprintf("distill.loss.%d", i))[0])
				trained++
				if name := fmt.Sprintf("distill.kept.%d", i); e.Has(name) {
					wantValue(t, name, r.Layers[i].Kept, e.Floats(t, name)[0])
				}
			}
			compareGradients(t, e, "distill.grad.", grads)
		})
	}
}

func wantValue(t *testing.T, what string, got float64, want float32) {
	t.Helper()
	if math.Abs(got-float64(want)) > 1e-5 {
		t.Errorf("%s is %.7f, want %.7f", what, got, want)
	}
}

// compareGradients compares with the golden's tensors of a prefix. A gradient that
// is to be zero in the golden would hide one that is missing: there is none.
func compareGradients(t *testing.T, e *modeltest.Edge, prefix string, grads *model.Params) {
	t.Helper()
	for _, p := range grads.List() {
		want := e.Floats(t, prefix+modeltest.GoldenName(t, p))
		if slices.Max(want) == 0 && slices.Min(want) == 0 {
			t.Errorf("%s%s: the golden's is zero", prefix, p.Name)
		}
		if rel := modeltest.Relative(p.Data, want, 1e-6); rel > 1e-3 {
			t.Errorf("%s%s: relative error %.2g\n got %v\nwant %v", prefix, p.Name, rel, p.Data[:2], want[:2])
		}
	}
}

// TestTransferOfWideWindow distills a block whose window holds most of the
// text: segments that see everything teach nothing, the last one does.
func TestTransferOfWideWindow(t *testing.T) {
	e := modeltest.OpenEdge(t, "elu-scalar")
	for window, learns := range map[int]bool{48: true, 96: false} {
		s := e.Model.Spec
		s.Window = window
		m, err := model.New(e.Model.Base, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		grads := m.Params.Zero()
		r, err := NewEngine(m, nil).Transfer(t.Context(), e.IDs[:96], nil, TransferOptions{Weight: 1}, grads)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Errors[0] > 0; got != learns {
			t.Errorf("window %d: relative error %g, want one above zero: %v", window, r.Errors[0], learns)
		}
	}
}

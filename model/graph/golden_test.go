package graph

import (
	"fmt"
	"math"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// TestEdgeGradients compares loss and every gradient with the reference:
// tokens 81 to 103 count, slots are chosen hard.
func TestEdgeGradients(t *testing.T) {
	for _, name := range []string{"elu-scalar", "elu-vector-map-delta", "hedgehog-mass", "retain", "retain-memory"} {
		t.Run(name, func(t *testing.T) {
			e := modeltest.OpenEdge(t, name)
			s := Sample{IDs: e.IDs, Loss: make([]bool, len(e.IDs))}
			for i := 81; i < len(e.IDs); i++ {
				s.Loss[i] = true
			}
			grads := e.Model.Params.Zero()
			p, err := NewEngine(e.Model).newPass(s, Options{TokenWeight: 1. / 23}, grads)
			if err != nil {
				t.Fatal(err)
			}
			err = p.stream.Feed(t.Context(), s.IDs, 0, func(first int, _ []float32) error {
				e.AlignTies(t, p.stream.State, first/16)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			r, err := p.differentiate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := float64(e.Floats(t, "loss")[0]); math.Abs(r.Loss-want) > 1e-5 {
				t.Errorf("loss %.7f, want %.7f", r.Loss, want)
			}
			for _, p := range grads.List() {
				want := e.Floats(t, "grad."+modeltest.GoldenName(t, p))
				if rel := modeltest.Relative(p.Data, want, 1e-6); rel > 1e-3 {
					t.Errorf("gradient of %s: relative error %.2g\n got %v\nwant %v", p.Name, rel, p.Data[:2], want[:2])
				}
			}
		})
	}
}

// TestEdgeTransfer compares loss and gradients of attention transfer over the
// first 96 tokens with the reference (linear updates only).
func TestEdgeTransfer(t *testing.T) {
	for _, name := range []string{"elu-scalar", "hedgehog-mass", "retain", "retain-memory"} {
		t.Run(name, func(t *testing.T) {
			e := modeltest.OpenEdge(t, name)
			grads := e.Model.Params.Zero()
			r, err := NewEngine(e.Model).Transfer(t.Context(), e.IDs[:96], nil, TransferOptions{Keep: 1, Weight: 1}, grads)
			if err != nil {
				t.Fatal(err)
			}
			for i, got := range r.Errors {
				if want := float64(e.Floats(t, fmt.Sprintf("distill.loss.%d", i))[0]); math.Abs(got-want) > 1e-5 {
					t.Errorf("layer %d: relative error %.7f, want %.7f", i, got, want)
				}
			}
			for _, p := range grads.List() {
				want := e.Floats(t, "distill.grad."+modeltest.GoldenName(t, p))
				if rel := modeltest.Relative(p.Data, want, 1e-6); rel > 1e-3 {
					t.Errorf("gradient of %s: relative error %.2g\n got %v\nwant %v", p.Name, rel, p.Data[:2], want[:2])
				}
			}
		})
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
		r, err := NewEngine(m).Transfer(t.Context(), e.IDs[:96], nil, TransferOptions{Weight: 1}, grads)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Errors[0] > 0; got != learns {
			t.Errorf("window %d: relative error %g, want one above zero: %v", window, r.Errors[0], learns)
		}
	}
}

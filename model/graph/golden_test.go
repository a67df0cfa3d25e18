package graph

import (
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
			grads := model.NewParams(e.Model.Spec, e.Model.Base.Dims, 2)
			for _, p := range grads.List() {
				clear(p.Data)
			}
			p, err := NewEngine(e.Model).newPass(s, Options{TokenWeight: 1. / 23}, grads)
			if err != nil {
				t.Fatal(err)
			}
			err = p.stream.Feed(t.Context(), s.IDs, func(first int, _ []float32) error {
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

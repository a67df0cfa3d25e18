package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model"
)

// TestActivationsAreTheSame: what the recorded pass has put out is what a program would compute
// anew, bit by bit, whether all of it is kept, nothing, or that of some layers. Room whose
// content nobody may read is full of NaN.
func TestActivationsAreTheSame(t *testing.T) {
	defer func(f func([]float32)) { unread = f }(unread)
	unread = func(x []float32) {
		for i := range x {
			x[i] = float32(math.NaN())
		}
	}
	layers := map[string]layerOf{"plain": plain, "gemma": gemma, "layer norms": layerNorms}
	for name, l := range variants {
		layers[name] = l
	}
	for what, change := range layers {
		for name, spec := range specs() {
			if !slices.Contains([]string{"slots", "slot-hedgehog-linear-slots", "vector-elu-delta"}, name) {
				continue
			}
			t.Run(what+"/"+name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(91, 92))
				m := testModel(t, spec, r, change, change)
				o := softOptions()
				o.Soft = what != "plain"
				checkActivations(t, m, testSample(r), o)
			})
		}
	}
}

func checkActivations(t *testing.T, m *model.Model, s Sample, o Options) {
	t.Helper()
	run := func(keep int) (Result, []float32, int) {
		e, grads := NewEngine(m, nil), m.Params.Zero()
		e.keep = keep
		p, err := e.newPass(s, o, grads)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.read(t.Context(), s.IDs); err != nil {
			t.Fatal(err)
		}
		layers := 0
		for _, segment := range p.tape.activations {
			for _, k := range segment {
				if k.values != nil {
					layers++
				}
			}
		}
		found, err := p.differentiate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var all []float32
		for _, p := range grads.List() {
			all = append(all, p.Data...)
		}
		return found, all, layers
	}
	want, wanted, none := run(0)
	if none != 0 {
		t.Fatalf("%d layers are kept in no room", none)
	}
	most := 4 * len(m.Base.Layers) // the sample has four live segments
	for keep, whole := range map[int]bool{keptBytes: true, 15_000: false} {
		got, grads, layers := run(keep)
		if layers == 0 || layers == most != whole {
			t.Fatalf("%d of %d layers are kept in %d bytes", layers, most, keep)
		}
		if got.Loss != want.Loss || fmt.Sprint(got.Layers) != fmt.Sprint(want.Layers) {
			t.Errorf("in %d bytes, loss %v and layers %v, want %v and %v", keep, got.Loss, got.Layers, want.Loss, want.Layers)
		}
		if !slices.Equal(grads, wanted) {
			t.Errorf("gradients differ where activations are kept in %d bytes", keep)
		}
	}
}

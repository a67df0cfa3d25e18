package model_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// TestEdgeGoldens compares logits and, after every segment, memory and slots
// with the reference; logits with soft slots, too.
func TestEdgeGoldens(t *testing.T) {
	for _, name := range modeltest.Edges {
		t.Run(name, func(t *testing.T) {
			e := modeltest.OpenEdge(t, name)
			stream := e.Model.NewStream(model.StreamOptions{NoRouting: true})
			var logits []float32
			segment := 0
			for ids := range slices.Chunk(e.IDs, e.Model.Spec.Segment) {
				logits = append(logits, logitsAfter(t, e.Model, stream, ids)...)
				if len(ids) == e.Model.Spec.Segment {
					compareState(t, e, stream.State, segment)
				}
				segment++
			}
			modeltest.Near(t, "logits", logits, e.Floats(t, "logits"), 1e-4)
			for i := range e.Model.Base.Layers {
				s := e.Model.Spec.At(i)
				if memory, slots := e.Has(fmt.Sprintf("memory.M.%d.5", i)), e.Has(fmt.Sprintf("slots.k.%d.5", i)); memory != s.HasMemory() || slots != (s.Slots > 0) {
					t.Errorf("layer %d: the golden has a memory: %v, slots: %v; the block is %+v", i, memory, slots, s)
				}
			}
			if e.Has("soft.logits") {
				stream = e.Model.NewStream(model.StreamOptions{NoRouting: true, Soft: true})
				modeltest.Near(t, "soft.logits", logitsAfter(t, e.Model, stream, e.IDs), e.Floats(t, "soft.logits"), 1e-4)
			}
		})
	}
}

func compareState(t *testing.T, e *modeltest.Edge, s *model.State, segment int) {
	t.Helper()
	d := e.Model.Base.Dims
	for i, l := range s.Layers {
		if name := fmt.Sprintf("memory.M.%d.%d", i, segment); e.Has(name) {
			matrix, mass := l.MemoryParts(d)
			modeltest.Near(t, name, matrix, e.Floats(t, name), 1e-4)
			name = fmt.Sprintf("memory.z.%d.%d", i, segment)
			modeltest.Near(t, name, mass, e.Floats(t, name), 1e-4)
		}
		name := fmt.Sprintf("slots.k.%d.%d", i, segment)
		if !e.Has(name) {
			continue
		}
		var keys, scores []float32 // [K,R,d], [K,R]
		for g := range d.KVHeads {
			for p, r := s.Parts(i), s.Parts(i).Sinks; r < p.Sinks+p.Slots; r++ {
				keys = append(keys, l.K.Floats()[(r*d.KVHeads+g)*d.HeadDim:(r*d.KVHeads+g+1)*d.HeadDim]...)
				scores = append(scores, l.Score[r*d.KVHeads+g])
			}
		}
		modeltest.Near(t, name, keys, e.Floats(t, name), 1e-4)
		name = fmt.Sprintf("slots.score.%d.%d", i, segment)
		modeltest.Near(t, name, scores, e.Floats(t, name), 1e-4)
	}
}

// TestRoutingIsTheBase reads prompts of every length up to S+W+L and somewhat
// beyond with a block and with full attention: up to there, every bit agrees.
func TestRoutingIsTheBase(t *testing.T) {
	e := modeltest.OpenEdge(t, "retain-memory")
	full, err := model.New(e.Model.Base, model.FullAttention(16), nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 40; n++ {
		same := slices.Equal(lastLogits(t, e.Model, e.IDs[:n]), lastLogits(t, full, e.IDs[:n]))
		if want := n <= 4+16+16; same != want {
			t.Errorf("%d tokens: equal to the base is %v, want %v", n, same, want)
		}
	}
}

func lastLogits(t *testing.T, m *model.Model, ids []int32) []float32 {
	t.Helper()
	logits := make([]float32, 64)
	err := m.NewStream(model.StreamOptions{}).Feed(context.Background(), ids, 0, func(_ int, hidden []float32) error {
		m.Logits(logits, hidden[len(hidden)-32:])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

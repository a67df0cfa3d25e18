package eval

import (
	"errors"

	"eisft/model"
)

// rule makes an eviction for a block. Its slots are divided among layers by the policy.
type rule func(m *model.Model) model.Eviction

// evicting is a policy that keeps the sinks and the window of the block, and tokens by a rule
// in slots of all layers: divide says how many each layer gets.
// Published rules that see a whole prompt before they evict do so here after each segment.
func evicting(p Policy, title string, divide func(slots, layers int) []int, r rule) policy {
	return policy{title: title, model: func(m *model.Model, slots int) (*model.Model, error) {
		return evict(m, m.Spec, p, divide(slots, len(m.Base.Layers)), r)
	}}
}

// evictingAll is evicting for a rule that knows no sinks and no window: all that the block
// keeps are slots, the same number in every layer.
func evictingAll(p Policy, title string, r rule) policy {
	return policy{title: title, model: func(m *model.Model, slots int) (*model.Model, error) {
		s, layers := m.Spec, len(m.Base.Layers)
		slots += layers * (s.Sink + s.Window)
		s.Sink, s.Window = 0, 0
		return evict(m, s, p, evenly(slots, layers), r)
	}}
}

func evict(m *model.Model, s model.Spec, p Policy, slots []int, r rule) (*model.Model, error) {
	if slotsOf(m) == 0 {
		return nil, errors.New("the block has no slots, and the policy says which tokens keep them: evaluate a run whose block has some, or leave the policy out")
	}
	e := r(m)
	e.Name, e.Slots = string(p), slots
	return model.NewEvicting(m.Base, s, &e)
}

// scoreEach is a score that depends on nothing but row, the place of a candidate, and the KV
// head.
func scoreEach(score func(c model.Candidates, row, kv int) float32) func([]float32, model.Candidates) {
	return func(dst []float32, c model.Candidates) {
		heads := c.Dims.KVHeads
		for i := range dst {
			dst[i] = score(c, c.First+i/heads, i%heads)
		}
	}
}

package graph

import (
	"eisft/internal/floatcache"
	"eisft/model"
	"eisft/model/schedule"
)

// KeepBase makes [Engine.Transfer] and [Engine.TransferLogits] keep what the base computes of a
// text with full attention, which nothing that is trained changes, and take it from there when
// the text comes again (nil: no more). base names the base, and what it is rounded by: engines
// of others may use the same cache.
func (e *Engine) KeepBase(c *floatcache.Cache, base string) { e.cache, e.base = c, base }

// keptName is the name of what is kept of a text for a purpose.
func (e *Engine) keptName(what string, ids []int32) string {
	return floatcache.Name(e.base, what, e.model.Spec.Segment, ids)
}

// TransferKept is how many bytes Transfer keeps of a text of so many tokens, at most.
func TransferKept(m *model.Model, tokens int) int64 {
	d, n := m.Base.Dims, 0
	tokens -= tokens % m.Spec.Segment
	for i := range m.Base.Layers {
		if trained(m, i) {
			n += tokens*(d.Hidden+2*d.KVHeads*d.HeadDim) + (tokens-firstCompared(m))*(d.Hidden+d.Heads*d.HeadDim)
		}
	}
	return 4 * int64(n)
}

// LogitsKept is how many bytes TransferLogits keeps of a text of so many tokens, at most.
func LogitsKept(m *model.Model, tokens int) int64 {
	return 4 * int64(tokens-m.Spec.Sizes().Unevicted()) * int64(m.Base.Dims.Hidden)
}

// trained says whether attention transfer has something to train in a layer.
func trained(m *model.Model, layer int) bool { return len(m.Params.Layers[layer].List()) > 0 }

// firstCompared is the first token whose attention is compared.
func firstCompared(m *model.Model) int { return schedule.FirstTransferred * m.Spec.Segment }

// keptParts are the parts of the lessons that are kept.
func (t *transfer) keptParts() (parts [][]float32) {
	d, first := t.model.Base.Dims, firstCompared(t.model)
	for i, l := range t.lessons {
		if trained(t.model, i) {
			parts = append(parts, l.q[first*d.Heads*d.HeadDim:], l.k, l.v, l.output[first*d.Hidden:], t.layers[i].normed)
		}
	}
	return parts
}

// recall fills the lessons with what is kept of the text, and says whether there is any.
func (t *transfer) recall(name string) (bool, error) {
	d := t.model.Base.Dims
	for i := range t.lessons {
		if trained(t.model, i) {
			t.lessons[i].k, t.lessons[i].v = make([]float32, t.tokens*d.KVHeads*d.HeadDim), make([]float32, t.tokens*d.KVHeads*d.HeadDim)
			t.layers[i].normed = t.layers[i].normed[:t.tokens*d.Hidden]
		}
	}
	had, err := t.cache.Get(name, t.keptParts()...)
	if !had {
		for i := range t.layers {
			t.layers[i].normed = t.layers[i].normed[:0]
		}
	}
	return had, err
}

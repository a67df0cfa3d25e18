package quant

import (
	"eisft/model"
	"eisft/model/shapes"
)

// FloatPart is a kind of products that a scheme leaves in float: what they compute, and their
// share of all multiplications of matrix products.
type FloatPart struct {
	What  string  `json:"what"`
	Share float64 `json:"share"`
}

// FloatParts are the products that a scheme leaves in float, where the model reads a prompt of
// the given number of tokens and has logits of them all. An exported graph's own share, which
// counts what masks hide, is in its manifest.
func FloatParts(m *model.Model, s Scheme, tokens int) ([]FloatPart, error) {
	st := shapes.NewStream(m, shapes.Options{})
	if err := st.Feed(tokens, 0); err != nil {
		return nil, err
	}
	st.Logits(tokens)
	w := st.Take().Total()
	var list []FloatPart
	add := func(what string, products int64) {
		if products > 0 {
			list = append(list, FloatPart{what, float64(products) / float64(w.Products())})
		}
	}
	add("retention scores", w.Scores)
	add("reads of the memory, with the gate", w.MemoryRead)
	add("writes to the memory", w.MemoryWrite)
	if !s.IntegerAttention() {
		add("attention", w.Attention)
	}
	if s.Activation.None() {
		add("frozen maps and the head", w.Maps+w.Head)
	}
	return list, nil
}

// FloatShare is the share of all multiplications that is left in float.
func (r *Report) FloatShare() (share float64) {
	for _, p := range r.Float {
		share += p.Share
	}
	return share
}

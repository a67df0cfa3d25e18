package quant

import (
	"eisft/model"
	"eisft/model/shapes"
)

// FloatShare is the share of the multiplications of matrix products that a scheme leaves in
// float, where the model reads a prompt of the given number of tokens and has logits of
// them all. An exported graph's own share, which counts what masks hide, is in its manifest.
func FloatShare(m *model.Model, s Scheme, tokens int) (float64, error) {
	st := shapes.NewStream(m, shapes.Options{})
	if err := st.Feed(tokens, 0); err != nil {
		return 0, err
	}
	st.Logits(tokens)
	w := st.Take().Total()
	float := w.MemoryRead + w.MemoryWrite + w.Scores
	if !s.IntegerAttention() {
		float += w.Attention
	}
	if s.Activation.None() {
		float += w.Maps + w.Head
	}
	return float64(float) / float64(w.Products()), nil
}

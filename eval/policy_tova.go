package eval

import "eisft/model"

// tova keeps what the last token attends to (TOVA, Oren et al., arXiv 2401.06104):
// a token's score is its attention weight from the last query, averaged over all heads of the
// layer, so that all KV heads keep the same tokens,
//
//	s_i = (1/H) Σ_h softmax_i(q_h·k / √d).
//
// Nothing else is kept: neither sinks nor a window, so that the whole budget is slots. The
// paper drops a token for each token, by the query of the last; we look at a segment's last
// token and drop a segment's at once.
var tova = evictingAll(PolicyTOVA, "tokens that a segment's last token attends to; no sinks, no window (TOVA)", func(*model.Model) model.Eviction {
	return model.Eviction{Watched: 1, Score: scoreEach(func(c model.Candidates, row, _ int) float32 {
		sum := float32(0)
		for _, v := range c.Attention[row*c.Dims.KVHeads : (row+1)*c.Dims.KVHeads] {
			sum += v
		}
		return sum / float32(c.Dims.Heads)
	})}
})

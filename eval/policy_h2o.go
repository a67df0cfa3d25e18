package eval

import (
	"eisft/model"
	"eisft/model/schedule"
)

// h2o keeps heavy hitters (H2O, Zhang et al., arXiv 2306.14048, Algorithm 1): a
// token's score is the attention weight that it has had from all queries until now,
//
//	s_i = Σ_t softmax_i(q_t·k / √d),
//
// beside the last tokens, which are the window here. The sum goes on over what is kept and is
// dropped with the token. The paper evicts a token for each token, we evict a segment's at
// once; the query heads of a group share a cache, and their weights are summed. The paper
// gives both parts half of the budget, we divide it as the block does.
var h2o = evicting(PolicyH2O, "sinks, window, and tokens that had most attention until now (H2O)", evenly, func(*model.Model) model.Eviction {
	return model.Eviction{Watched: schedule.Unbounded, Accumulate: true, Score: scoreEach(watched)}
})

// watched is the attention that a candidate has had.
func watched(c model.Candidates, row, kv int) float32 { return c.Attention[row*c.Dims.KVHeads+kv] }

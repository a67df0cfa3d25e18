package eval

import (
	"slices"

	"eisft/model"
)

// snapKV keeps what the last queries look at (SnapKV, Li et al., arXiv 2404.14469): a token's
// score is the attention weight that it has had from the queries of an observation window,
// averaged over a few neighbours,
//
//	s_i = (1/n) Σ_{|j-i|≤n/2} Σ_{t in the window} softmax_j(q_t·k / √d).
//
// The paper looks once, at the end of a prompt, and keeps what is chosen while it answers. In a
// stream every segment's last queries are such a window and what it has not chosen is gone, so
// that a question sees what the segments before it have left. Neighbours are those in the
// order stored, over the gaps that were left. The query heads of a group share a cache, and
// their weights are summed.
var snapKV = evicting(PolicySnapKV, "sinks, window, and tokens that a segment's last queries attend to (SnapKV)", evenly, func(*model.Model) model.Eviction {
	return snap{window: 32, kernel: 5}.eviction()
})

// snap is SnapKV with its constants: queries of the observation window, neighbours that are
// pooled (an odd number), and whether the largest of them is taken and not their average.
// Where the first or last token has fewer, the others count as 0, as the paper's code pads.
type snap struct {
	window, kernel int
	largest        bool
}

func (s snap) eviction() model.Eviction {
	return model.Eviction{Watched: s.window, Score: func(dst []float32, c model.Candidates) {
		heads := c.Dims.KVHeads
		column := make([]float32, c.Stored)
		for g := range heads {
			for i := range column {
				column[i] = c.Attention[i*heads+g]
			}
			for i := range c.Candidates {
				dst[i*heads+g] = s.pool(column, c.First+i)
			}
		}
	}}
}

// pool returns the average, or the largest, of x around i.
func (s snap) pool(x []float32, i int) float32 {
	near := x[max(0, i-s.kernel/2):min(len(x), i+s.kernel/2+1)]
	if s.largest {
		return slices.Max(near)
	}
	sum := float32(0)
	for _, v := range near {
		sum += v
	}
	return sum / float32(s.kernel)
}

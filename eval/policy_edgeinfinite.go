package eval

import "eisft/model"

// edgeInfinite is the block of the paper, sinks, window and memory (EdgeInfinite, arXiv
// 2503.22196): ours without slots, whose tokens the window gets. The memory is as
// it was trained; of a block without one, the preset's, untrained. To compare with the paper,
// train a run with the preset edgeinfinite: there this is the block as it is.
var edgeInfinite = policy{
	title:   "sinks, window and memory, without slots (EdgeInfinite)",
	trained: true,
	model: func(m *model.Model, slots int) (*model.Model, error) {
		return memoryOnly(m, slots, string(PolicyEdgeInfinite), func(s *model.Spec, slots int) { s.Window += slots })
	},
}

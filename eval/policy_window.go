package eval

import "eisft/model"

// window keeps sinks and the last tokens (StreamingLLM, Xiao et al., arXiv 2309.17453).
// The window gets what the block has in slots.
var window = policy{
	title: "sinks and window alone (StreamingLLM)",
	model: func(m *model.Model, slots int) (*model.Model, error) {
		s := model.WindowOnly(m.Spec)
		s.Window += slots / len(m.Base.Layers)
		return model.New(m.Base, s, nil)
	},
}

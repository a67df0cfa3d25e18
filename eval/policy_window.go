package eval

import "eisft/model"

// window keeps sinks and the last tokens (StreamingLLM, Xiao et al., arXiv 2309.17453). The window gets the tokens that the block has in slots.
var window = policy{
	title: "sinks and window alone (StreamingLLM)",
	model: func(m *model.Model) (*model.Model, error) {
		s := model.WindowOnly(m.Spec)
		s.Window += slotsOf(m) / len(m.Base.Layers)
		return model.New(m.Base, s, nil)
	},
}

package eval

import "eisft/model"

// window is the block without what is trained (StreamingLLM, arXiv 2309.17453).
var window = policy{
	title: "sinks and window alone",
	model: func(m *model.Model) (*model.Model, error) {
		return model.New(m.Base, model.WindowOnly(m.Spec), nil)
	},
}

package eval

import "eisft/model"

// full is the base itself: every token attends to all before it.
var full = policy{
	title: "full attention, not bounded",
	model: func(m *model.Model, _ int) (*model.Model, error) {
		return model.New(m.Base, model.FullAttention(m.Spec.Segment), nil)
	},
}

package eval

import "eisft/model"

// edgeInfinite is the model as it is, with its block.
var edgeInfinite = policy{
	title:   "with the block",
	trained: true,
	model:   func(m *model.Model) (*model.Model, error) { return m, nil },
}

package eval

import (
	"errors"

	"eisft/model"
)

// slotsAlone is the trained block without its memory: what it has less than eisft is what the
// memory adds.
var slotsAlone = policy{
	title:   "with the trained block, without its memory",
	trained: true,
	model: func(m *model.Model, _ int) (*model.Model, error) {
		if slotsOf(m) == 0 {
			return nil, errors.New("the block has no slots: without its memory it is the policy window")
		}
		return m.WithoutMemory()
	},
}

package quant

// Stands in for transform.go until there is one.

import (
	"context"
	"errors"
	"iter"

	"eisft/data"
	"eisft/model"
)

type Channels struct{}

type Folded struct{}

func CollectChannels(context.Context, *model.Model, iter.Seq2[data.Encoded, error]) (*Channels, error) {
	return &Channels{}, nil
}

func Transform(_ context.Context, m *model.Model, r *Recipe, _ *Channels) (*model.Model, *Folded, error) {
	if len(r.Transforms) > 0 {
		return nil, nil, errors.New("no transforms yet")
	}
	return m, nil, nil
}

func TransformNames() []string { return []string{"smoothquant", "awq", "rotate"} }

package quant

// Stands in for reconstruct.go until there is one.

import (
	"context"

	"eisft/model"
)

func reconstruct(_ context.Context, _ *model.Model, r *Recipe, _ *Quantized) func(context.Context, *Layer) error {
	if r.Reconstruct.Steps == 0 {
		return nil
	}
	return func(context.Context, *Layer) error { return nil }
}

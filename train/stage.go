package train

import (
	"context"

	"eisft/internal/enum"
	"eisft/train/config"
)

// runStage runs a stage from a position on, and saves where it has got to.
type runStage func(ctx context.Context, t *trainer, s config.Stage, at position) error

// stages says how each kind of stage is run.
var stages = enum.NewTable[config.Kind, runStage]("kind").
	With(config.KindSSFT, running((*trainer).ssft)).
	With(config.KindDistill, running((*trainer).distill)).
	With(config.KindPrune, running((*trainer).prune))

// running runs stages of type S.
func running[S config.Stage](run func(t *trainer, ctx context.Context, s S, at position) error) runStage {
	return func(ctx context.Context, t *trainer, s config.Stage, at position) error {
		return run(t, ctx, s.(S), at)
	}
}

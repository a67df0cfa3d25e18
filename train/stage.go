package train

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/internal/enum"
	"eisft/train/config"
)

// stage says how stages of a kind are carried out.
type stage struct {
	// run runs a stage from a position on, and saves where it has got to.
	run func(ctx context.Context, t *trainer, s config.Stage, at position) error
	// outlook says what it will read.
	outlook func(t *trainer, s config.Stage) outlook
}

// outlook is what a stage will do.
type outlook struct {
	what string // "60 steps of 2 samples"
	// samples of the shuffled epochs are read, each so often, reads tokens of one with n.
	samples, times int
	// together is how many of them ranks share before they wait for each other.
	together int
	reads    func(n int) int
	// once does with a sample what the stage does with each, and keeps nothing of it.
	once func(ctx context.Context, e data.Encoded) error
	// keeps is how many bytes what the base makes of a sample with n tokens takes; nil: nothing is kept.
	keeps func(n int) int64
	// sees is how many tokens the base sees at once, of a sample of n.
	sees func(n int) int
}

var stages = enum.NewTable[config.Kind, stage]("kind").
	With(config.KindSSFT, stageOf((*trainer).ssft, (*trainer).ssftOutlook)).
	With(config.KindDistill, stageOf((*trainer).distill, (*trainer).distillOutlook)).
	With(config.KindPrune, stageOf((*trainer).prune, (*trainer).pruneOutlook))

// stageOf says how stages of type S are carried out.
func stageOf[S config.Stage](run func(t *trainer, ctx context.Context, s S, at position) error, look func(t *trainer, s S) outlook) stage {
	return stage{
		run: func(ctx context.Context, t *trainer, s config.Stage, at position) error {
			return run(t, ctx, s.(S), at)
		},
		outlook: func(t *trainer, s config.Stage) outlook { return look(t, s.(S)) },
	}
}

// stepsOutlook is that of a stage that takes optimizer steps.
func (t *trainer) stepsOutlook(o config.Optimizer, gradients batchGradients) outlook {
	return outlook{
		what: fmt.Sprintf("%s of %s", english.Plural(o.Steps, "step", ""), english.Plural(o.Batch, "sample", "")), samples: o.Steps * o.Batch, times: 1, together: o.Batch,
		once: func(ctx context.Context, e data.Encoded) error {
			add, err := gradients([]data.Encoded{e}, false)
			if err == nil {
				_, err = add(ctx, e, t.Model.Params.Zero())
			}
			return err
		},
	}
}

package train

import (
	"context"
	"fmt"
	"time"

	"eisft/data"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// step is what one optimizer step of a stage found.
type step struct {
	loss, kept           float64
	answerTokens, tokens int
	layers               []model.LayerStats
}

// addLayers adds the statistics of one of so many samples.
func (s *step) addLayers(layers []model.LayerStats, samples int) {
	if s.layers == nil {
		s.layers = make([]model.LayerStats, len(layers))
	}
	for i, l := range layers {
		s.layers[i].Kept += l.Kept / float64(samples)
		s.layers[i].Gate.Merge(l.Gate)
	}
}

// batchGradients adds the gradients of a batch of samples to grads.
type batchGradients func(ctx context.Context, samples []data.Encoded, grads *model.Params) (step, error)

// optimize takes the optimizer steps of a stage, each along the gradients of a batch.
func (t *trainer) optimize(ctx context.Context, kind config.Kind, o config.Optimizer, at position, gradients batchGradients) error {
	loader, err := t.loader(at.Cursor)
	if err != nil {
		return err
	}
	line := progress.Start(t.options.Progress, progress.Task{What: string(kind), Unit: "steps", Total: o.Steps, From: at.Step})
	defer line.End()
	for at.Step < o.Steps {
		started := time.Now()
		grads := t.Model.Params.Zero()
		var found step
		samples, err := batch(loader, o.Batch)
		if err == nil {
			found, err = gradients(ctx, samples, grads)
		}
		if ctx.Err() != nil {
			return t.stop(at)
		}
		if err != nil {
			return fmt.Errorf("stage %d (%s), step %d: %w", at.Stage+1, kind, at.Step+1, err)
		}
		norm, err := clip(grads, o.Trainable, o.Clip)
		if err != nil && at == (position{}) {
			err = fmt.Errorf("the gradient is %v before anything was trained: the base has weights that are not numbers; eisft inspect %s may tell which", norm, t.config.Model.Path)
		}
		if err != nil {
			return fmt.Errorf("stage %d (%s), step %d: %w", at.Stage+1, kind, at.Step+1, err)
		}
		rate := rateAt(o, at.Step)
		t.optimizer.update(grads, o, rate)
		at.Step, at.Cursor = at.Step+1, loader.Cursor()
		err = t.appendMetrics(runs.Metrics{
			Stage: at.Stage, Kind: string(kind), Step: at.Step, Loss: found.loss, AnswerTokens: found.answerTokens, Tokens: found.tokens,
			Kept: found.kept, Layers: found.layers, GradNorm: norm, Rate: rate, Seconds: time.Since(started).Seconds(),
		})
		if err != nil {
			return err
		}
		line.Add(1)
		line.Figures("loss %.3f, kept %.2f, %.0f tokens/s", found.loss, found.kept, float64(found.tokens)/time.Since(started).Seconds())
		if every := t.config.Checkpoint.Every; at.Step == o.Steps || every > 0 && at.Step%every == 0 {
			if err := t.save(at); err != nil {
				return fmt.Errorf("checkpoint: %w", err)
			}
		}
	}
	return nil
}

// batch reads n samples.
func batch(loader *data.Loader, n int) ([]data.Encoded, error) {
	samples := make([]data.Encoded, n)
	for i := range samples {
		var err error
		if samples[i], err = loader.Next(); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

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

// figures are what a sample, or a step of an optimizer's stage, has found.
type figures struct {
	Loss         float64 // a sample's part of the batch's
	Kept         float64
	AnswerTokens int
	Tokens       int
	Layers       []model.LayerStats
}

// add adds those of one of so many samples.
func (f *figures) add(s figures, samples int) {
	f.Loss += s.Loss
	f.Kept += s.Kept / float64(samples)
	f.AnswerTokens += s.AnswerTokens
	f.Tokens += s.Tokens
	if f.Layers == nil {
		f.Layers = make([]model.LayerStats, len(s.Layers))
	}
	for i, l := range s.Layers {
		f.Layers[i].Kept += l.Kept / float64(samples)
		f.Layers[i].Excess += l.Excess / float64(samples)
		f.Layers[i].Gate.Merge(l.Gate)
	}
}

// sampleGradients adds the gradients of a sample to grads.
type sampleGradients func(ctx context.Context, e data.Encoded, grads *model.Params) (figures, error)

// batchGradients returns what computes the gradients of a batch's samples, which is
// normalised by the whole of it.
type batchGradients func(batch []data.Encoded) (sampleGradients, error)

// optimize takes the optimizer steps of a stage, each along the gradients of a batch.
func (t *trainer) optimize(ctx context.Context, kind config.Kind, o config.Optimizer, at position, gradients batchGradients) error {
	loader, err := t.loader(at.Cursor)
	if err != nil {
		return err
	}
	if n := t.group.Size(); o.Batch < n && t.options.Warn != nil {
		t.options.Warn(fmt.Sprintf("stages[%d].batch is %d, but %d ranks train: %d of them have nothing to do; raise batch to %[3]d or more", at.Stage, o.Batch, n, n-o.Batch))
	}
	line := progress.Start(t.options.Progress, progress.Task{What: string(kind), Unit: "steps", Total: o.Steps, From: at.Step})
	defer line.End()
	failed := func(err error) error {
		return fmt.Errorf("stage %d (%s), step %d: %w", at.Stage+1, kind, at.Step+1, err)
	}
	for at.Step < o.Steps {
		started := time.Now()
		grads := t.Model.Params.Zero()
		mine, err := t.contribute(ctx, loader, o.Batch, gradients, grads)
		if err != nil {
			return failed(err)
		}
		found, stop, err := t.combine(mine, grads, o.Batch)
		if err != nil {
			return err
		}
		if stop {
			return t.stop(at)
		}
		norm, err := clip(grads, o.Trainable, o.Clip)
		if err != nil && at == (position{}) {
			err = fmt.Errorf("the gradient is %v before anything was trained", norm)
			if damage := t.Model.Damage(); damage != nil {
				err = fmt.Errorf("%w: %w", err, damage)
			}
		}
		if err != nil {
			return failed(err)
		}
		rate := rateAt(o, at.Step)
		t.optimizer.update(grads, o, rate)
		at.Step, at.Cursor = at.Step+1, loader.Cursor()
		every := t.config.Checkpoint.Every
		err = t.record(runs.Metrics{
			Stage: at.Stage, Kind: string(kind), Step: at.Step, Loss: found.Loss, AnswerTokens: found.AnswerTokens, Tokens: found.Tokens,
			Kept: found.Kept, Layers: found.Layers, GradNorm: norm, Rate: rate, Seconds: time.Since(started).Seconds(),
		}, at, at.Step == o.Steps || every > 0 && at.Step%every == 0)
		if err != nil {
			return err
		}
		line.Add(1)
		line.Figures("loss %.3f, kept %.2f, %.0f tokens/s", found.Loss, found.Kept, float64(found.Tokens)/time.Since(started).Seconds())
	}
	return nil
}

// contribution is what a rank has found of a step.
type contribution struct {
	Stop    bool // the rank was asked to stop: none takes the step
	Samples []figures
}

// contribute reads a batch of n samples and adds the gradients of this rank's share of
// them to grads.
func (t *trainer) contribute(ctx context.Context, loader *data.Loader, n int, gradients batchGradients, grads *model.Params) (contribution, error) {
	found, err := t.shareGradients(ctx, loader, n, gradients, grads)
	if ctx.Err() != nil {
		return contribution{Stop: true}, nil
	}
	return contribution{Samples: found}, err
}

func (t *trainer) shareGradients(ctx context.Context, loader *data.Loader, n int, gradients batchGradients, grads *model.Params) ([]figures, error) {
	samples, err := batch(loader, n)
	if err != nil {
		return nil, err
	}
	add, err := gradients(samples)
	if err != nil {
		return nil, err
	}
	var found []figures
	for _, e := range share(t.group, samples) {
		f, err := add(ctx, e, grads)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Where, err)
		}
		found = append(found, f)
	}
	return found, nil
}

// combine makes grads those of the whole batch of n samples and returns its figures, or
// says that a rank was asked to stop.
func (t *trainer) combine(mine contribution, grads *model.Params, n int) (found figures, stop bool, err error) {
	all, err := meet(t.group, mine)
	if err != nil {
		return found, false, err
	}
	for _, c := range all {
		stop = stop || c.Stop
		for _, f := range c.Samples {
			found.add(f, n)
		}
	}
	if stop {
		return found, true, nil
	}
	for _, p := range grads.List() {
		if err := t.group.Sum(p.Data); err != nil {
			return found, false, groupError{err}
		}
	}
	return found, false, nil
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

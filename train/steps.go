package train

import (
	"context"
	"fmt"
	"time"

	"eisft/data"
	"eisft/internal/progress"
	"eisft/internal/ranks"
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
		f.Layers[i].MergeGate(l)
		if f.Layers[i].KeptHeads == nil {
			f.Layers[i].KeptHeads = make([]float32, len(l.KeptHeads))
		}
		for g, kept := range l.KeptHeads {
			f.Layers[i].KeptHeads[g] += kept / float32(samples)
		}
	}
}

// sampleGradients adds the gradients of a sample to grads.
type sampleGradients func(ctx context.Context, e data.Encoded, grads *model.Params) (figures, error)

// batchGradients returns what computes the gradients of a batch's samples, which is
// normalised by the whole of it; with lossOnly it adds none.
type batchGradients func(batch []data.Encoded, lossOnly bool) (sampleGradients, error)

// optimize takes the optimizer steps of a stage, each along the gradients of a batch.
func (t *trainer) optimize(ctx context.Context, kind config.Kind, o config.Optimizer, at position, gradients batchGradients) error {
	loader, err := t.loader(at.Cursor)
	if err != nil {
		return err
	}
	line := progress.Start(t.options.Progress, progress.Task{What: string(kind), Unit: "steps", Total: o.Steps, From: at.Step, Words: words})
	defer line.End()
	end := t.saveWhenStopped(ctx, &at)
	defer end()
	failed := func(err error) error {
		if end(); !ranks.Told(err) {
			err = fmt.Errorf("stage %d (%s), step %d: %w", at.Stage+1, kind, at.Step+1, err)
		}
		return t.keepWhole(at, err)
	}
	grads := t.Model.Params.Zero()
	for {
		stop, err := t.validate(ctx, &at, o, gradients, func(done int) { line.Figures("validation %d/%d", done, len(t.validation)) })
		if err != nil {
			return failed(err)
		}
		if stop {
			end()
			return t.stop(at)
		}
		over := t.over(at, o)
		if over {
			t.useBest(&at)
		}
		if every := t.config.Checkpoint.Every; over || at.Step > 0 && every > 0 && at.Step%every == 0 {
			if err := t.write(func() error { return t.save(at) }); err != nil {
				return err
			}
		}
		if over {
			if w := at.Validation; w.BestStep > 0 {
				line.Figures("best validation loss %.4f after step %d%s", w.Best, w.BestStep, t.whyOver(at))
			}
			line.Finish()
			return nil
		}
		started := time.Now()
		mine, err := t.contribute(ctx, loader, o, gradients, grads)
		if err != nil {
			return failed(err)
		}
		computed := time.Now()
		found, stop, err := t.combine(mine, grads, o)
		if err != nil {
			return failed(err)
		}
		if stop {
			end()
			return t.stop(at)
		}
		together := time.Since(computed)
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
		m := runs.Metrics{
			Stage: at.Stage, Kind: string(kind), Step: at.Step + 1, Loss: found.Loss, AnswerTokens: found.AnswerTokens, Tokens: found.Tokens,
			Kept: found.Kept, Layers: found.Layers, GradNorm: norm, Rate: rateAt(o, at.Step),
		}
		if t.group.Size() > 1 {
			m.Ranks, m.Together = t.group.Size(), together.Seconds()
		}
		err = t.step(&at, func() (runs.Metrics, data.Cursor) {
			t.optimizer.update(grads, o, m.Rate)
			m.Seconds = time.Since(started).Seconds()
			return m, loader.Cursor()
		})
		if err != nil {
			return err
		}
		line.Add(1)
		line.Figures("loss %.3f, kept %.2f, %.0f tokens/s", found.Loss, found.Kept, float64(found.Tokens)/time.Since(started).Seconds())
	}
}

// words explain the figures of the progress line.
const words = "loss: of the answers' tokens in nats (s-sft), or the error relative to the base's own attention (distill), of the last step; kept: the share of the tokens beyond the window that the retention score would keep (docs/metrics.md)"

// contribution is what a rank has found of a step.
type contribution struct {
	Stop    bool // the rank was asked to stop: none takes the step
	Samples []figures

	grads sums // of its share; each rank sends the others a part of it
}

// contribute reads a batch and computes the gradients of this rank's share of it. It uses
// grads as room for those of one sample.
func (t *trainer) contribute(ctx context.Context, loader *data.Loader, o config.Optimizer, gradients batchGradients, grads *model.Params) (contribution, error) {
	found, err := t.shareGradients(ctx, loader, o, gradients, grads)
	if ctx.Err() != nil {
		return contribution{Stop: true}, nil
	}
	return found, err
}

func (t *trainer) shareGradients(ctx context.Context, loader *data.Loader, o config.Optimizer, gradients batchGradients, grads *model.Params) (contribution, error) {
	var found contribution
	samples, err := batch(loader, o.Batch)
	if err != nil {
		return found, err
	}
	add, err := gradients(samples, false)
	if err != nil {
		return found, err
	}
	first, last := ranks.Share(t.group.Rank(), t.group.Size(), o.Batch)
	for i, e := range samples[first:last] {
		for _, p := range grads.List() {
			clear(p.Data)
		}
		f, err := add(ctx, e, grads)
		if err != nil {
			return found, fmt.Errorf("%s: %w", e.Where, err)
		}
		found.Samples = append(found.Samples, f)
		found.grads = found.grads.add(partial{span{first + i, 1}, flat(grads, o.Trainable)})
	}
	return found, nil
}

// combine makes grads those of the whole batch and returns its figures, or says that a rank
// was asked to stop.
func (t *trainer) combine(mine contribution, grads *model.Params, o config.Optimizer) (found figures, stop bool, err error) {
	all, err := ranks.Meet(t.group, mine)
	if err != nil {
		return found, false, err
	}
	for _, c := range all {
		stop = stop || c.Stop
		for _, f := range c.Samples {
			found.add(f, o.Batch)
		}
	}
	if stop {
		return found, true, nil
	}
	sum, err := sumOverRanks(t.group, mine.grads, o.Batch, trainedValues(grads, o.Trainable), exchangeChunk)
	if err != nil {
		return found, false, ranks.Lost(err)
	}
	unflat(grads, o.Trainable, sum)
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

package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"eisft/data"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/model/graph"
	"eisft/train/config"
	"eisft/train/runs"
)

// Options say how a training run is started.
type Options struct {
	// Resume goes on with the newest stopped run of the configuration.
	Resume bool
	// Progress receives the progress line (nil: none), usually os.Stderr.
	Progress io.Writer
	// Warn is told what does not fit together though it can be trained (nil: nobody).
	Warn func(message string)
}

// ErrStopped is returned when training was cancelled after a checkpoint: it
// goes on exactly there with Options.Resume.
var ErrStopped = errors.New("training stopped")

// trainer is one call of Train.
type trainer struct {
	*runs.Run
	config    *config.Config
	dir       string
	options   Options
	source    *data.Source
	encoder   *data.Encoder
	engine    *graph.Engine
	optimizer *adamW

	evaluation runs.Evaluation
}

// Train runs the stages of a configuration, in order, and returns the run. A
// cancelled ctx stops it at the last whole step, with a checkpoint. Everything
// that can be wrong with the input is found before the run folder is made.
func Train(ctx context.Context, c *config.Config, o Options) (run *runs.Run, err error) {
	t := &trainer{config: c, options: o}
	if err := t.open(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.source.Close()) }()
	at, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	for i := at.Stage; i < len(c.Stages); i++ {
		if i > at.Stage {
			at = position{Stage: i}
			t.optimizer = newAdamW(t.Model.Params, c.Stages[i].Betas)
		}
		if err := t.stage(ctx, c.Stages[i], at); err != nil {
			return t.Run, err
		}
	}
	if err := t.evaluateAfter(ctx); err != nil {
		return t.Run, err
	}
	return t.Run, os.Remove(filepath.Join(t.dir, runs.CheckpointFile))
}

// open opens base, data and template.
func (t *trainer) open() (err error) {
	if t.Run, err = runs.OpenUntrained(t.config); err != nil {
		return err
	}
	if t.options.Warn != nil {
		for _, w := range t.Model.Warnings() {
			t.options.Warn(w)
		}
	}
	if t.source, err = data.Open(t.config.Data.Train, t.config.Data.Options); err != nil {
		return err
	}
	t.encoder = data.NewEncoder(t.Tokenizer, t.Template, t.config.Data.MaxTokens)
	t.use(t.Model)
	return nil
}

// use goes on with m.
func (t *trainer) use(m *model.Model) {
	t.Model, t.engine = m, graph.NewEngine(m)
}

// begin evaluates the untrained block and makes the run folder, or finds the
// one to resume, and returns where to go on.
func (t *trainer) begin(ctx context.Context) (position, error) {
	var err error
	if t.options.Resume {
		if t.dir, err = resumeDir(t.config); err != nil {
			return position{}, err
		}
		t.Run.Dir = t.dir
		if err := t.readEvaluation(); err != nil {
			return position{}, err
		}
		return t.restore()
	}
	if err := t.tryData(); err != nil {
		return position{}, err
	}
	if err := t.evaluateBefore(ctx); err != nil {
		return position{}, err
	}
	if t.dir, err = newRunDir(t.config); err != nil {
		return position{}, err
	}
	t.Run.Dir = t.dir
	t.optimizer = newAdamW(t.Model.Params, t.config.Stages[0].Betas)
	if err := t.config.Write(filepath.Join(t.dir, runs.ConfigFile)); err != nil {
		return position{}, err
	}
	if t.evaluation.Before == nil {
		return position{}, nil
	}
	return position{}, t.writeEvaluation()
}

// tryData reads one sample, so that data of which none fits is found at once.
func (t *trainer) tryData() error {
	loader, err := t.loader(data.Cursor{})
	if err != nil {
		return err
	}
	_, err = loader.Next()
	return err
}

func (t *trainer) loader(at data.Cursor) (*data.Loader, error) {
	return data.NewLoader(t.source, t.config.Data.Samples, t.encoder, uint64(t.config.Seed), at)
}

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

// stage runs one stage from a position on.
func (t *trainer) stage(ctx context.Context, s config.Stage, at position) error {
	if s.Kind == config.KindPrune {
		return t.prune(ctx, s, at)
	}
	loader, err := t.loader(at.Cursor)
	if err != nil {
		return err
	}
	line := progress.Start(t.options.Progress, progress.Task{What: string(s.Kind), Unit: "steps", Total: s.Steps, From: at.Step})
	defer line.End()
	for at.Step < s.Steps {
		started := time.Now()
		grads := t.Model.Params.Zero()
		found, err := t.gradients(ctx, s, loader, grads)
		if ctx.Err() != nil {
			return t.stop(at)
		}
		if err != nil {
			return fmt.Errorf("stage %d (%s), step %d: %w", at.Stage+1, s.Kind, at.Step+1, err)
		}
		norm, err := clip(grads, s.Trainable, s.Clip)
		if err != nil && at == (position{}) {
			err = fmt.Errorf("the gradient is %v before anything was trained: the base has weights that are not numbers; eisft inspect %s may tell which", norm, t.config.Model.Path)
		}
		if err != nil {
			return fmt.Errorf("stage %d (%s), step %d: %w", at.Stage+1, s.Kind, at.Step+1, err)
		}
		rate := rateAt(s, at.Step)
		t.optimizer.update(grads, s, rate)
		at.Step, at.Cursor = at.Step+1, loader.Cursor()
		err = t.appendMetrics(runs.Metrics{
			Stage: at.Stage, Kind: string(s.Kind), Step: at.Step, Loss: found.loss, AnswerTokens: found.answerTokens, Tokens: found.tokens,
			Kept: found.kept, Layers: found.layers, GradNorm: norm, Rate: rate, Seconds: time.Since(started).Seconds(),
		})
		if err != nil {
			return err
		}
		line.Add(1)
		line.Figures("loss %.3f, kept %.2f, %.0f tokens/s", found.loss, found.kept, float64(found.tokens)/time.Since(started).Seconds())
		if every := t.config.Checkpoint.Every; at.Step == s.Steps || every > 0 && at.Step%every == 0 {
			if err := t.save(at); err != nil {
				return fmt.Errorf("checkpoint: %w", err)
			}
		}
	}
	return nil
}

// stop saves the last whole step and says how to go on.
func (t *trainer) stop(at position) error {
	if at.Stage == 0 && at.Step == 0 {
		return errors.Join(fmt.Errorf("%w before its first step; nothing was kept", ErrStopped), os.RemoveAll(t.dir))
	}
	if err := t.save(at); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return fmt.Errorf("%w after step %d of stage %d; %s holds a checkpoint: the same command with --resume goes on exactly there", ErrStopped, at.Step, at.Stage+1, t.dir)
}

// gradients adds up the gradients of a batch.
func (t *trainer) gradients(ctx context.Context, s config.Stage, loader *data.Loader, grads *model.Params) (step, error) {
	samples := make([]data.Encoded, s.Batch)
	for i := range samples {
		var err error
		if samples[i], err = loader.Next(); err != nil {
			return step{}, err
		}
	}
	if s.Kind == config.KindDistill {
		return t.distillStep(ctx, s, samples, grads)
	}
	return t.sftStep(ctx, s, samples, grads)
}

// answerImportance is how much more a token that predicts an answer, or is one,
// weighs in distillation (method, section 5).
const answerImportance = 20

// distillStep is attention transfer on the last tokens of each sample; the loss
// is the relative error of the attention's output, averaged over the layers.
func (t *trainer) distillStep(ctx context.Context, s config.Stage, samples []data.Encoded, grads *model.Params) (step, error) {
	var found step
	o := graph.TransferOptions{Keep: s.Keep, KeepWeight: s.KeepWeight, Weight: 1 / float64(len(samples))}
	for _, e := range samples {
		from := max(0, len(e.IDs)-s.Tokens)
		r, err := t.engine.Transfer(ctx, e.IDs[from:], importance(e.Loss, from), o, grads)
		if err != nil {
			return step{}, fmt.Errorf("%s: %w", e.Where, err)
		}
		for _, layer := range r.Errors {
			found.loss += layer / float64(len(r.Errors)*len(samples))
		}
		found.kept += r.Kept / float64(len(samples))
		found.addLayers(r.Layers, len(samples))
		found.tokens += len(e.IDs) - from
	}
	return found, nil
}

// importance weighs the tokens from `from` on: answers and what predicts them
// weigh more. A text without answers needs no weights.
func importance(loss []bool, from int) []float32 {
	if !slices.Contains(loss, true) {
		return nil
	}
	w := make([]float32, len(loss)-from)
	for i := range w {
		at := from + i
		w[i] = 1
		if loss[at] || at+1 < len(loss) && loss[at+1] {
			w[i] = answerImportance
		}
	}
	return w
}

// sftStep is S-SFT: the loss is the cross-entropy of answer tokens, normalised
// by their number over the whole batch (method, section 5).
func (t *trainer) sftStep(ctx context.Context, s config.Stage, samples []data.Encoded, grads *model.Params) (step, error) {
	var found step
	for _, e := range samples {
		found.answerTokens += graph.AnswerTokens(e.Loss)
	}
	if found.answerTokens == 0 {
		return step{}, fmt.Errorf("%s: no sample of the batch has an answer to learn from", samples[0].Where)
	}
	o := graph.Options{
		Soft: s.Slots == config.SlotsSoft, Keep: s.Keep, KeepWeight: s.KeepWeight,
		TokenWeight: 1 / float64(found.answerTokens), SampleWeight: 1 / float64(len(samples)),
	}
	for _, e := range samples {
		r, err := t.engine.Backward(ctx, graph.Sample{IDs: e.IDs, Loss: e.Loss}, o, grads)
		if err != nil {
			return step{}, fmt.Errorf("%s: %w", e.Where, err)
		}
		found.loss += r.Loss
		found.kept += r.Kept / float64(len(samples))
		found.addLayers(r.Layers, len(samples))
		found.tokens += len(e.IDs)
	}
	return found, nil
}

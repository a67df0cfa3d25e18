// Package train carries out the stages of a configuration, one after the other, and keeps
// what comes of them in a run folder: a file for each kind of stage, and the optimizer,
// checkpoints and metrics that they share.
package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"eisft/data"
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
			t.optimizer = newAdamW(t.Model.Params)
		}
		s := c.Stages[i]
		if err := stages.Get(s.Kind())(ctx, t, s, at); err != nil {
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
	t.optimizer = newAdamW(t.Model.Params)
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

// Package train carries out the stages of a configuration, one after the other, and keeps
// what comes of them in a run folder: a file for each kind of stage, and the optimizer,
// checkpoints, metrics and ranks that they share.
package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/agenda"
	"eisft/internal/atomicfile"
	"eisft/internal/ranks"
	"eisft/model"
	"eisft/model/graph"
	"eisft/model/kernels"
	"eisft/train/config"
	"eisft/train/runs"
)

// Options say how a training run is started.
type Options struct {
	// Resume goes on with the run of the configuration that was stopped last.
	Resume bool
	// Extend goes on with the run of the configuration that was finished last, of which the
	// configuration has more: steps in its last stage, or stages behind it.
	Extend bool
	// Written are the keys that the configuration's author has written: of a run that is resumed
	// or extended, the others stay as it was started with, whatever their defaults are now. Nil: all.
	Written config.Written
	// Progress receives the progress line (nil: none), usually os.Stderr.
	Progress io.Writer
	// Warn is told what does not fit together though it can be trained (nil: nobody).
	Warn func(message string)
	// Note is told which run is resumed (nil: nobody).
	Note func(message string)
	// Quantized opens the quantized model of a base in a folder, which the configuration may
	// name; it must be there then.
	Quantized func(base *model.Model, folder string) (*Quantized, error)
	// Group are the ranks that train this run together (nil: this process alone). They
	// see the same files. Progress, Warn and Note of rank 0 are used.
	//
	// Gradients are summed in an order that does not depend on the ranks, so that any number
	// of them trains the same bits on processors of one kind. Every rank holds all parameters
	// and the optimizer's state; evaluation and pruning divide their samples among the ranks. A
	// rank that is asked to stop, or fails, ends all of them after the same step.
	Group ranks.Group
}

// ErrStopped is returned when training was cancelled after a checkpoint: it
// goes on exactly there with Options.Resume.
var ErrStopped = errors.New("training stopped")

// errStoppedEarly is what there is to say of a run that has trained nothing yet.
var errStoppedEarly = fmt.Errorf("%w before its first step; nothing was kept", ErrStopped)

// trainer is one call of Train.
type trainer struct {
	*runs.Run
	config    *config.Config
	options   Options
	group     ranks.Group
	size      int          // ranks that train, which a plan is one of that stands for all
	source    *data.Source // to train on
	heldOut   *data.Source // nil: nothing is
	encoder   *data.Encoder
	survey    *data.Survey
	samples   []data.Piece // of source
	engine    *graph.Engine
	optimizer *adamW
	inputs    inputs
	rounding  *graph.Rounding // of a quantized base's activations; nil: they stay in float
	// madeOutput says that the folder of all runs was not there before.
	madeOutput bool
	lock       *atomicfile.Lock // of the run folder, on rank 0
	goOn       goOn             // what is resumed or extended
	state      *state
	best       *model.Params // with the best loss on held-out samples in this stage; nil: none yet
	events     events

	validation []data.Encoded // held-out samples
	// stageBegins is the loss on them with which the stage began, until its first step is written.
	stageBegins *runs.Before
	evaluated   *eval.Rows // what evaluations ask, read once
	evaluation  runs.Evaluation
	measured    bool // the untrained block, before the run was stopped
}

// Train runs the stages of a configuration, in order, and returns the run. A
// cancelled ctx stops it at the last whole step, with a checkpoint. Everything
// that can be wrong with the input is found before the run folder is made.
func Train(ctx context.Context, c *config.Config, o Options) (*runs.Run, error) {
	own := *c
	t := &trainer{config: &own, options: o, group: ranks.Or(o.Group), state: new(state)}
	t.size = t.group.Size()
	if t.group.Rank() > 0 {
		t.options.Progress, t.options.Warn, t.options.Note = nil, nil, nil
	}
	run, err := t.train(ctx)
	err = errors.Join(err, t.events.Close())
	t.lock.Release()
	return run, ranks.Tell(t.group, err)
}

// Plan says what a run of a configuration will do and what it will take, from one step of
// each stage on the longest sample. It writes nothing. Of several ranks the first one says
// it, and the plans of the others are empty.
func Plan(ctx context.Context, c *config.Config, o Options) (_ *agenda.Agenda, err error) {
	own := *c
	all := ranks.Or(o.Group)
	if all.Rank() > 0 {
		return new(agenda.Agenda), nil
	}
	t := &trainer{config: &own, options: o, group: ranks.Alone{}, size: all.Size(), state: new(state)}
	if err := t.open(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.source.Close()) }()
	if err := t.checkRows(ctx); err != nil {
		return nil, err
	}
	return t.agenda(ctx, 0)
}

func (t *trainer) train(ctx context.Context) (run *runs.Run, err error) {
	if t.options.Resume || t.options.Extend {
		if err := t.goesOn(); err != nil {
			return nil, err
		}
	}
	if err := t.open(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.source.Close()) }()
	if err := t.checkRows(ctx); err != nil {
		return nil, err
	}
	if err := t.checkEvaluation(ctx); err != nil {
		return nil, err
	}
	if err := t.announce(ctx); err != nil {
		return nil, err
	}
	at, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.openEvents(at); err != nil {
		return nil, err
	}
	for i := at.Stage; i < len(t.config.Stages); i++ {
		if i > at.Stage {
			at = position{Stage: i}
			t.optimizer, t.best = newAdamW(t.Model.Params), nil
		}
		s := t.config.Stages[i]
		if err := stages.Get(s.Kind()).run(ctx, t, s, at); err != nil {
			return t.Run, err
		}
	}
	if err := t.evaluateAfter(ctx); err != nil {
		return t.Run, err
	}
	return t.Run, t.write(func() error {
		if err := t.writeEvaluation(); err != nil {
			return err
		}
		if err := t.WriteCard(t.evaluation, t.inputs["data.train"]); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(t.Dir, runs.CheckpointFile), filepath.Join(t.Dir, runs.FinishedFile)); err != nil {
			return err
		}
		return pointLatest(t.Dir)
	})
}

// open opens base, data and template.
func (t *trainer) open(ctx context.Context) (err error) {
	if t.Run, err = runs.OpenUntrained(t.config); err != nil {
		return err
	}
	t.config.Data.Base, t.config.Eval.Base = t.Run.Config.Data.Base, t.Run.Config.Eval.Base
	if t.options.Warn != nil {
		for _, w := range t.Model.Warnings() {
			t.options.Warn(w)
		}
	}
	t.encoder = data.NewEncoder(t.Tokenizer, t.Template, t.config.Data.MaxTokens).Long(t.config.Data.Long)
	if err := t.openData(ctx); err != nil {
		return err
	}
	if t.inputs, err = readInputs(t.config, t.Model.Base); err != nil {
		return err
	}
	m, err := t.quantized()
	if err != nil {
		return err
	}
	if m, err = t.adapted(m); err != nil {
		return err
	}
	t.use(m)
	return nil
}

// use goes on with m.
func (t *trainer) use(m *model.Model) {
	t.Model, t.engine = m, graph.NewEngine(m, t.rounding)
}

// begin makes the run folder, or finds the one to resume, and returns where to go on.
func (t *trainer) begin(ctx context.Context) (position, error) {
	goesOn := t.options.Resume || t.options.Extend
	open := t.start
	if goesOn {
		open = t.reopen
	}
	if err := t.agree(); err != nil { // nothing is made before all ranks are ready
		return position{}, err
	}
	if err := open(ctx); err != nil {
		return position{}, err
	}
	if goesOn {
		at, err := t.restore(filepath.Join(t.Dir, t.goesOnFrom()))
		if err != nil {
			return at, err
		}
		if err := t.takeUp(at); err != nil {
			return at, err
		}
		if t.options.Extend {
			return t.extended(at)
		}
		t.note("resuming %s, which was stopped after step %d of stage %d", t.Dir, at.Step, at.Stage+1)
		if at == (position{}) {
			return at, t.evaluateBefore(ctx)
		}
		return at, nil
	}
	t.optimizer = newAdamW(t.Model.Params)
	return position{}, t.evaluateBefore(ctx)
}

// note tells something that is worth knowing.
func (t *trainer) note(format string, args ...any) {
	if t.options.Note != nil {
		t.options.Note(fmt.Sprintf(format, args...))
	}
}

// agree waits until all ranks are ready to train the same base, and warns where they compute
// products with other bits.
func (t *trainer) agree() error {
	var inputs []ranks.Input
	for _, what := range slices.Sorted(maps.Keys(t.inputs)) {
		inputs = append(inputs, ranks.Input{Name: what, Sum: t.inputs[what]})
	}
	if err := ranks.Agree(t.group, inputs); err != nil {
		return err
	}
	products, err := ranks.Meet(t.group, kernels.Bits())
	if err != nil {
		return err
	}
	for rank, p := range products {
		if p != products[0] && t.options.Warn != nil {
			t.options.Warn(fmt.Sprintf("rank %d computes matrix products with %s, and rank 0 with %s: the run has other bits than one process would train; set %s alike on all hosts", rank, p, products[0], kernels.EnvBLAS))
			break
		}
	}
	return nil
}

// start makes the run folder.
func (t *trainer) start(context.Context) error {
	return t.onFolder(func() (err error) {
		if _, err := checkOutput(t.config); err != nil {
			return err
		}
		_, err = os.Lstat(t.config.Output)
		t.madeOutput = errors.Is(err, fs.ErrNotExist)
		if t.Dir, t.lock, err = newRunDir(t.config); err != nil {
			return err
		}
		return t.config.Write(filepath.Join(t.Dir, runs.ConfigFile))
	})
}

// folderFound is what rank 0 tells the others of the run folder.
type folderFound struct {
	Dir      string
	Measured bool
}

// onFolder lets rank 0 open the run folder, and tells the others which it is.
func (t *trainer) onFolder(open func() error) error {
	found, err := ranks.OnFirst(t.group, func() (folderFound, error) {
		err := open()
		return folderFound{t.Dir, t.evaluation.Before != nil}, err
	})
	t.Dir, t.measured = found.Dir, found.Measured
	return err
}

// checkRows reads all rows before anything is trained, and settles which are used.
func (t *trainer) checkRows(ctx context.Context) error {
	answers := slices.ContainsFunc(t.config.Stages, func(s config.Stage) bool { return s.Kind() != config.KindDistill })
	found, err := ranks.OnFirst(t.group, func() (*data.Survey, error) {
		return data.CheckRows(ctx, t.source, t.encoder, data.CheckOptions{Answers: answers, Progress: t.options.Progress})
	})
	if err != nil {
		if ctx.Err() != nil {
			return ranks.Instead(err, errStoppedEarly)
		}
		return err
	}
	if t.samples, err = found.Use(t.config.Data.OnBadRow); err != nil {
		return err
	}
	if err := t.readValidation(ctx, answers); err != nil {
		if ctx.Err() != nil {
			return ranks.Instead(err, errStoppedEarly)
		}
		return err
	}
	t.survey = found
	t.inputs["data.train"] = found.Hash
	if t.options.Warn != nil {
		for _, w := range found.Warnings() {
			t.options.Warn(w)
		}
		for i, s := range t.config.Stages {
			t.warnOfContext(i, s)
			t.warnOfRanks(i, s)
			t.warnOfCache(i, s)
		}
	}
	return nil
}

// write changes the run folder, which rank 0 does alone.
func (t *trainer) write(do func() error) error {
	_, err := ranks.OnFirst(t.group, func() (bool, error) { return true, do() })
	return err
}

func (t *trainer) loader(at data.Cursor) (*data.Loader, error) {
	return data.NewLoader(t.source, t.samples, t.encoder, uint64(t.config.Seed), at)
}

// stop saves the last whole step and says how to go on.
func (t *trainer) stop(at position) error {
	if at == (position{}) && !t.measuresBefore() {
		err := t.write(t.removeRun)
		return errors.Join(errStoppedEarly, err)
	}
	if err := t.write(func() error { return t.save(at) }); err != nil {
		return err
	}
	return fmt.Errorf("%w after step %d of stage %d; %s holds a checkpoint: the same command with --resume goes on exactly there", ErrStopped, at.Step, at.Stage+1, t.Dir)
}

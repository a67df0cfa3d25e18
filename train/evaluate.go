package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/internal/ranks"
	"eisft/train/config"
	"eisft/train/runs"
)

// beforeDir is where answers of the evaluation before training are kept, in the run's
// folder, until all are there.
const beforeDir = ".before"

// evaluateBefore measures all policies with the untrained block, or what is missing of it if
// it was stopped.
func (t *trainer) evaluateBefore(ctx context.Context) error {
	section := t.config.Eval
	if !t.measuresBefore() || t.measured {
		return nil
	}
	if name := section.Data.String(); name != "" && name != t.config.Data.Train.String() { // which has been announced
		if err := eval.Announce(ctx, section, t.options.Progress); err != nil {
			return t.discard(fmt.Errorf("evaluation: %w", err))
		}
	}
	kept := filepath.Join(t.Dir, beforeDir)
	results, err := t.measure(ctx, section, kept)
	if err != nil && ctx.Err() != nil {
		if saveErr := t.write(func() error { return t.save(position{}) }); saveErr != nil {
			return errors.Join(err, saveErr)
		}
		return ranks.Instead(err, fmt.Errorf("%w while the untrained block was evaluated; %s holds what was answered: the same command with --resume goes on there, with eval.before: false without an evaluation", ErrStopped, t.Dir))
	}
	if err != nil {
		return t.discard(err)
	}
	t.evaluation.Before = results
	return t.write(func() error {
		return errors.Join(t.writeEvaluation(), os.RemoveAll(kept))
	})
}

// measuresBefore says whether the untrained block is evaluated.
func (t *trainer) measuresBefore() bool { return !t.config.Eval.Nothing() && t.config.Eval.Before }

// discard removes a run that has come to nothing.
func (t *trainer) discard(err error) error {
	if t.group.Rank() == 0 && !t.options.Resume {
		err = errors.Join(err, t.removeRun())
	}
	return err
}

// removeRun removes the folder of a run that has come to nothing, and that of all runs if it was
// made for this one.
func (t *trainer) removeRun() error {
	err := os.RemoveAll(t.Dir)
	if t.madeOutput {
		_ = os.Remove(t.config.Output) // unless something lies there by now
	}
	return err
}

// checkEvaluation reads what is evaluated on, before anything is made, and finds out whether all of it can
// be asked.
func (t *trainer) checkEvaluation(ctx context.Context) error {
	section := t.config.Eval
	if section.Nothing() || len(section.Policies) == 0 {
		return nil
	}
	job := &eval.Job{Note: t.options.Note, Model: t.Model, Tokenizer: t.Tokenizer, Template: t.Template, Config: section}
	var err error
	if job.Rows, err = job.Load(ctx); err == nil {
		t.evaluated = job.Rows
		_, err = job.Plan(ctx)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return errStoppedEarly
	case err != nil:
		return fmt.Errorf("evaluation: %w", err)
	}
	return nil
}

// evaluateAfter measures the trained block, and at its budget what it is compared with.
func (t *trainer) evaluateAfter(ctx context.Context) error {
	section := t.config.Eval
	section.Policies = policiesAfter(t.config)
	if section.Nothing() || len(section.Policies) == 0 {
		return nil
	}
	results, err := t.measure(ctx, section, "")
	if err != nil && ctx.Err() != nil {
		return ranks.Instead(err, fmt.Errorf("%w while its result was evaluated; the adapter in %s is complete: the same command with --resume evaluates it", ErrStopped, t.Dir))
	}
	if err != nil {
		return fmt.Errorf("%w; the adapter is saved: eisft eval --run %s measures it", err, t.Dir)
	}
	t.evaluation.After = results
	return nil
}

// policiesAfter are those that are measured after training: what reads with what is trained, and,
// where pruning makes the block smaller, all that are compared at its budget.
func policiesAfter(c *config.Config) (after []eval.Policy) {
	for _, p := range c.Eval.Policies {
		if p.Trained() || p.Bounded() && c.Prunes() {
			after = append(after, p)
		}
	}
	return after
}

// measure evaluates, and keeps answers in a folder of rank 0 ("": nowhere).
func (t *trainer) measure(ctx context.Context, section eval.Config, dir string) ([]*eval.Result, error) {
	if len(section.Policies) == 0 {
		return nil, nil
	}
	if t.group.Rank() > 0 {
		dir = ""
	}
	r, err := (&eval.Job{
		Dir: dir, Note: t.options.Note, Rows: t.evaluated, WithinContext: !section.BeyondContext,
		Model: t.Model, Tokenizer: t.Tokenizer, Template: t.Template, Config: section, Stream: t.streams(), Progress: t.options.Progress, Group: t.group,
	}).Run(ctx)
	if err != nil {
		if ranks.Told(err) {
			return nil, err
		}
		return nil, fmt.Errorf("evaluation: %w", err)
	}
	return r.Results, nil
}

// writeEvaluation writes eval.json, if anything was measured.
func (t *trainer) writeEvaluation() error {
	if t.evaluation.Before == nil && t.evaluation.After == nil {
		return nil
	}
	text, err := json.MarshalIndent(t.evaluation, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(t.Dir, runs.EvalFile), append(text, '\n'))
}

// readEvaluation reads what was measured before a resumed run was stopped.
func (t *trainer) readEvaluation() error {
	e, err := runs.ReadEvaluation(t.Dir)
	if errors.Is(err, fs.ErrNotExist) { // the configuration has no evaluation
		return nil
	}
	t.evaluation = e
	return err
}

package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/internal/ranks"
	"eisft/train/runs"
)

// evaluateBefore measures all policies with the untrained block.
func (t *trainer) evaluateBefore(ctx context.Context) error {
	section := t.config.Eval
	if section.Nothing() {
		return nil
	}
	if section.Data != "" && section.Data != t.config.Data.Train.String() { // which has been announced
		if err := eval.Announce(ctx, section, t.options.Progress); err != nil {
			return fmt.Errorf("evaluation: %w", err)
		}
	}
	results, err := t.measure(ctx, section)
	if err != nil && ctx.Err() != nil {
		return ranks.Instead(err, errStoppedEarly)
	}
	t.evaluation.Before = results
	return err
}

// evaluateAfter measures the trained block.
func (t *trainer) evaluateAfter(ctx context.Context) error {
	section := t.config.Eval
	section.Policies = trainedPolicies(section.Policies)
	if section.Nothing() || len(section.Policies) == 0 {
		return nil
	}
	results, err := t.measure(ctx, section)
	if err != nil && ctx.Err() != nil {
		return ranks.Instead(err, fmt.Errorf("%w while its result was evaluated; the adapter in %s is complete: the same command with --resume evaluates it", ErrStopped, t.Dir))
	}
	if err != nil {
		return fmt.Errorf("%w; the adapter is saved: eisft eval --run %s measures it", err, t.Dir)
	}
	t.evaluation.After = results
	return nil
}

// trainedPolicies are those that read with what is trained.
func trainedPolicies(policies []eval.Policy) (trained []eval.Policy) {
	for _, p := range policies {
		if p.Trained() {
			trained = append(trained, p)
		}
	}
	return trained
}

func (t *trainer) measure(ctx context.Context, section eval.Config) ([]*eval.Result, error) {
	if len(section.Policies) == 0 {
		return nil, nil
	}
	r, err := (&eval.Job{
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

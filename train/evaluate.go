package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"eisft/internal/atomicfile"
	"eisft/eval"
	"eisft/train/config"
)

// Evaluation is what eval.json holds: every policy before the first stage, and
// with the trained block after the last one. Full attention and the window
// alone do not depend on training and are measured once.
type Evaluation struct {
	Before []*eval.Result `json:"before"`
	After  []*eval.Result `json:"after,omitempty"`
}

// evaluateBefore measures all policies with the untrained block.
func (t *trainer) evaluateBefore(ctx context.Context) error {
	if t.config.Eval.Data == "" {
		return nil
	}
	results, err := t.measure(ctx, t.config.Eval)
	t.evaluation.Before = results
	return err
}

// evaluateAfter measures the trained block and completes eval.json.
func (t *trainer) evaluateAfter(ctx context.Context) error {
	section := t.config.Eval
	section.Policies = nil
	for _, p := range t.config.Eval.Policies {
		if p == config.PolicyEdgeInfinite {
			section.Policies = append(section.Policies, p)
		}
	}
	if section.Data == "" || len(section.Policies) == 0 {
		return nil
	}
	results, err := t.measure(ctx, section)
	if err != nil {
		return fmt.Errorf("%w; the adapter is saved: eisft eval --run %s measures it", err, t.dir)
	}
	t.evaluation.After = results
	return t.writeEvaluation()
}

func (t *trainer) measure(ctx context.Context, section config.Eval) ([]*eval.Result, error) {
	results, err := eval.Evaluate(ctx, t.Model, t.Tokenizer, t.Template, section, t.options.Progress)
	if err != nil {
		return nil, fmt.Errorf("evaluation: %w", err)
	}
	return results, nil
}

func (t *trainer) writeEvaluation() error {
	text, err := json.MarshalIndent(t.evaluation, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(t.dir, EvalFile), append(text, '\n'))
}

// readEvaluation reads what was measured before a resumed run was stopped.
func (t *trainer) readEvaluation() error {
	e, err := ReadEvaluation(t.dir)
	if errors.Is(err, fs.ErrNotExist) { // the configuration has no evaluation
		return nil
	}
	t.evaluation = e
	return err
}

// ReadEvaluation reads a run's eval.json.
func ReadEvaluation(dir string) (Evaluation, error) {
	var e Evaluation
	path := filepath.Join(dir, EvalFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// WriteTable prints what training changed.
func (e Evaluation) WriteTable(w io.Writer) error {
	fmt.Fprintln(w, "before training")
	if err := eval.WriteTable(w, e.Before); err != nil || e.After == nil {
		return err
	}
	fmt.Fprintln(w, "\nafter training")
	return eval.WriteTable(w, e.After)
}

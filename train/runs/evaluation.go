package runs

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"eisft/eval"
	"eisft/internal/head"
)

// Evaluation is what eval.json holds: every policy before the first stage, and
// those that training changes after the last one.
type Evaluation struct {
	Before []*eval.Result `json:"before"`
	After  []*eval.Result `json:"after,omitempty"`
}

// ReadEvaluation reads a run's eval.json.
func ReadEvaluation(dir string) (Evaluation, error) {
	var e Evaluation
	path := filepath.Join(dir, EvalFile)
	text, err := head.Read(path, head.Description)
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
	if e.Before != nil {
		fmt.Fprintln(w, "before training")
		if err := eval.WriteTable(w, e.Before); err != nil || e.After == nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if e.After == nil {
		return nil
	}
	fmt.Fprintln(w, "after training")
	return eval.WriteTable(w, e.After)
}

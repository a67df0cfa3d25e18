package runs

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"eisft/eval"
	"eisft/internal/head"
)

// Evaluation is what eval.json holds: every policy before the first stage, and after the last one
// those that training changes, with those that a smaller block changes the budget of. All of a
// list, but full attention, have the same bytes: those of the block at that time.
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

// Gained are the results to hold side by side: those before training, but for policies whose
// budget pruning has changed, which after has instead, and those after it.
func (e Evaluation) Gained() (before, after []*eval.Result) {
	before = slices.DeleteFunc(slices.Clone(e.Before), func(r *eval.Result) bool {
		return r == nil || !r.Policy.Trained() && slices.ContainsFunc(e.After, func(s *eval.Result) bool { return s != nil && s.Policy == r.Policy })
	})
	return before, slices.DeleteFunc(slices.Clone(e.After), func(r *eval.Result) bool { return r == nil })
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

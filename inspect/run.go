package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/quant"
	"eisft/train/config"
	"eisft/train/runs"
)

// inspectRun describes a run's folder: what was trained, what was gained, and
// what has been made of it since.
func inspectRun(_ context.Context, r *Report, dir string, o Options) error {
	r.Kind = "run"
	c, err := config.Load(filepath.Join(dir, runs.ConfigFile))
	r.problem(err)
	if err == nil {
		r.fact("name", c.Name)
		r.fact("data", c.Data.Train.String())
		r.fact("seed", c.Seed)
	}
	r.adapter(dir, o.Model, c)
	if err == nil {
		r.trainedBeside(c.Model.Quantized)
	}
	r.training(dir, c)
	r.gained(dir)
	r.evaluations(dir)
	r.quantizations(dir)
	r.exports(dir)
	r.leftovers(dir, runs.Folders...)
	return nil
}

// trainedBeside describes the quantized model that a run was trained beside, which what uses
// the run reads, too.
func (r *Report) trainedBeside(q config.Quantized) {
	if q.Folder == "" {
		return
	}
	r.fact("trained beside the quantized model", q.String())
	if !exists(q.Folder, quant.EncodingsFile) {
		r.problem(fmt.Errorf("the quantized model that the run was trained beside, %s, is not there: put it back, or make model.quantized.folder of %s name where it is", q.Folder, filepath.Join(r.Path, runs.ConfigFile)))
	}
}

// leftovers notes what processes that were killed have left in folders of dir, each once.
func (r *Report) leftovers(dir string, names ...string) {
	for _, name := range names {
		for _, left := range atomicfile.Leftovers(filepath.Join(dir, name)) {
			note := fmt.Sprintf("%s was left behind by a process that was killed; the next command that writes there removes it", filepath.Join(r.Path, name, left))
			if !slices.Contains(r.Notes, note) {
				r.Notes = append(r.Notes, note)
			}
		}
	}
}

// training describes what the stages did; c is nil if the configuration could
// not be read.
func (r *Report) training(dir string, c *config.Config) {
	steps, err := runs.ReadSteps(filepath.Join(dir, runs.MetricsFile))
	r.problem(err)
	stages := runs.ByStage(steps)
	t := Table{Title: "training", Columns: []string{"stage", "kind", "steps", "loss, first steps", "loss, last steps", "tokens", "time"}}
	all := 0.0
	for i, s := range stages {
		steps := fmt.Sprint(len(s.Steps))
		if c != nil && i < len(c.Stages) {
			steps += fmt.Sprintf(" of %d", c.Stages[i].NumSteps())
		}
		t.row(i+1, s.Kind, steps, Score(s.FirstLoss()), Score(s.LastLoss()), Count(s.Tokens), Seconds(s.Seconds))
		all += s.Seconds
		if p := s.Steps[len(s.Steps)-1].Pruned; p != nil {
			r.fact("pruned", p.String())
		}
	}
	if len(stages) > 0 {
		r.fact("training time", Seconds(all))
	}
	r.table(t)
	if exists(dir, runs.CheckpointFile) {
		r.note("training is not finished: the same eisft train command with --resume goes on")
	}
}

// gained adds the evaluations before and after training.
func (r *Report) gained(dir string) {
	e, err := runs.ReadEvaluation(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.note("not evaluated: eisft eval --run %s --data FILE", r.Path)
		return
	case err != nil:
		r.problem(err)
		return
	case e.After == nil && !exists(dir, runs.CheckpointFile):
		r.note("not evaluated after training: eisft eval --run %s", r.Path)
	}
	before, after := e.Gained()
	all := slices.Concat(before, after)
	t := scoreTable("what was gained", all, keptColumns...)
	for _, result := range before {
		t.scores(policyName(result, "untrained"), result, kept(result.Budget)...)
	}
	for _, result := range after {
		t.scores(policyName(result, "trained"), result, kept(result.Budget)...)
	}
	r.table(t)
	for _, result := range after {
		was := slices.IndexFunc(before, func(r *eval.Result) bool { return r.Policy == result.Policy })
		if was >= 0 && before[was].Budget.Bytes != result.Budget.Bytes {
			r.note("%s had %s before pruning took slots away, and has %s: rows of other policies are at the latter; eval.json has those at the former", result.Policy, Bytes(before[was].Budget.Bytes), Bytes(result.Budget.Bytes))
		}
	}
}

// keptColumns are those of budgets, tokensKept the first of them.
var keptColumns = []string{tokensKept, "bytes"}

const tokensKept = "tokens kept"

// kept is a budget in tokens and bytes; nothing is known of one that is not bounded.
func kept(b eval.Budget) []any {
	if b.Tokens == 0 {
		return []any{nil, nil}
	}
	return []any{Count(b.Tokens), Bytes(b.Bytes)}
}

// policyName says how a result was read; state is that of the block.
func policyName(result *eval.Result, state string) string {
	if result == nil {
		return ""
	}
	if result.Policy.Trained() {
		return result.Policy.Title() + ", " + state
	}
	return result.Policy.Title()
}

// scoreTable begins a table of results, all with the same bounds: every metric for facts
// far back and near, and the perplexity of the right answers.
func scoreTable(title string, results []*eval.Result, more ...string) Table {
	columns := []string{""}
	var bounds []string
	for _, b := range scored {
		for _, m := range eval.Metrics() {
			columns = append(columns, m.Title()+", "+string(b))
		}
		columns = append(columns, "questions")
		if i := slices.IndexFunc(results, func(r *eval.Result) bool { return r != nil && r.Bounds != eval.Bounds{} }); i >= 0 {
			bounds = append(bounds, results[i].Bounds.Describe(b))
		}
	}
	if len(bounds) > 0 {
		title += " (" + strings.Join(bounds, ", ") + ")"
	}
	return Table{Title: title, Columns: slices.Concat(columns, []string{"perplexity"}, more)}
}

// scored are the buckets of a table of results.
var scored = []eval.Bucket{eval.Far, eval.Near}

// scores adds the scores of a result; a bucket without questions has none.
func (t *Table) scores(name string, result *eval.Result, more ...any) {
	if result == nil { // null in a file that was edited
		return
	}
	cells := []any{name}
	for _, b := range scored {
		s := result.Score(b)
		for _, m := range eval.Metrics() {
			if v, ok := s.Metrics[m]; ok {
				cells = append(cells, Score(v))
			} else {
				cells = append(cells, nil)
			}
		}
		cells = append(cells, s.N)
	}
	if s := result.Score(eval.All); s.N > 0 {
		cells = append(cells, Score(s.Perplexity))
	} else {
		cells = append(cells, nil)
	}
	t.row(append(cells, more...)...)
}

// subfolders lists the folders in dir/name that are not hidden.
func subfolders(dir, name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var found []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			found = append(found, filepath.Join(dir, name, e.Name()))
		}
	}
	return found, err
}

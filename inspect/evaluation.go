package inspect

import (
	"context"
	"fmt"
	"path/filepath"

	"eisft/eval"
)

// inspectEvaluation describes an evaluation's folder: what was asked for, and what came of it
// so far.
func inspectEvaluation(_ context.Context, r *Report, dir string, _ Options) error {
	r.Kind = "evaluation"
	k, err := eval.ReadKept(dir)
	if err != nil {
		r.problem(err)
		return nil
	}
	s := k.Settings
	r.fact("data", s.Data.Path)
	if s.Samples > 0 {
		r.fact("rows asked for", Count(s.Samples))
	}
	r.fact("policies", s.Policies)
	if len(s.Budgets) > 0 {
		r.fact("budgets", s.Budgets)
	}
	r.fact("records", Count(len(k.Records)))
	r.fact("base identity", s.Base)
	r.fact("adapter identity", s.Adapter)
	if s.Quantized != "" {
		r.fact("quantized model", s.Quantized)
	}
	r.fact("block", blockText(s.Block))
	r.evaluation("scores", k)
	if exists(dir, eval.PageFile) {
		r.note("%s shows it with plots and examples", filepath.Join(r.Path, eval.PageFile))
	} else {
		r.note("it is not finished: the same eisft eval command goes on with what is missing")
	}
	return nil
}

// evaluations adds those of a run.
func (r *Report) evaluations(dir string) {
	found, err := subfolders(dir, eval.EvaluationsDir)
	r.problem(err)
	for _, f := range found {
		k, err := eval.ReadKept(f)
		r.problem(err)
		if err == nil {
			r.evaluation("evaluation "+filepath.Base(f), k)
		}
	}
}

// evaluation adds the tables of an evaluation: of answers, and of plain texts.
func (r *Report) evaluation(title string, k *eval.Kept) {
	report := k.Report("")
	t := scoreTable(title, report.Results, keptColumns...)
	for _, result := range report.Results {
		t.scores(result.Title(), result, kept(result.Budget)...)
	}
	r.table(t)
	if len(report.Texts) > 0 {
		r.table(textTable(title+" of plain texts", report.Texts))
	}
}

// textTable has the perplexity of plain texts by position.
func textTable(title string, list []*eval.Texts) Table {
	t := Table{Title: title, Columns: []string{"", "texts", tokensKept, "perplexity"}}
	most := 0
	for _, one := range list {
		for _, p := range one.Positions[min(most, len(one.Positions)):] {
			t.Columns = append(t.Columns, fmt.Sprintf("%d-%d", p.From, p.To))
			most++
		}
	}
	for _, one := range list {
		cells := []any{one.Title(), one.Texts, nil, Score(one.All.Perplexity)}
		if one.Budget.Tokens > 0 {
			cells[2] = Count(one.Budget.Tokens)
		}
		for _, p := range one.Positions {
			cells = append(cells, Score(p.Perplexity))
		}
		t.row(append(cells, make([]any, most-len(one.Positions))...)...)
	}
	return t
}

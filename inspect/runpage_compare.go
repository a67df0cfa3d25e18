package inspect

import (
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-yaml"

	"eisft/eval"
	"eisft/train/runs"
)

// compare has tables of several runs: what differs in their configurations, and their figures.
func (p *runPage) compare() {
	if len(p.Runs) < 2 {
		return
	}
	columns := []string{""}
	settings := make([]map[string]string, len(p.Runs))
	keys := map[string]bool{}
	for i, r := range p.Runs {
		columns = append(columns, r.Name)
		settings[i] = flat(r.Text)
		for k := range settings[i] {
			keys[k] = true
		}
	}
	p.Settings = Table{Title: "What differs in their configurations", Columns: columns}
	p.Figures = Table{Title: "Figures", Columns: columns}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		row, same := []any{key}, true
		for i := range p.Runs {
			value, ok := settings[i][key]
			if !ok {
				value = "not set"
			}
			row = append(row, value)
			same = same && value == row[1]
		}
		if !same {
			p.Settings.row(row...)
		}
	}
	var names []string
	figures := make([]map[string]any, len(p.Runs))
	for i, r := range p.Runs {
		figures[i] = map[string]any{}
		r.figures(func(name string, value any) {
			if figures[i][name] = value; !slices.Contains(names, name) {
				names = append(names, name)
			}
		})
	}
	for _, name := range names {
		row := []any{name}
		for i := range p.Runs {
			row = append(row, figures[i][name])
		}
		p.Figures.row(row...)
	}
}

// figures gives a run's, in the order of a table.
func (r *pageRun) figures(add func(name string, value any)) {
	for _, f := range r.Report.Facts {
		if f.Name == "trained parameters" {
			add(f.Name, f.Value)
		}
	}
	for i, s := range runs.ByStage(r.steps) {
		add(fmt.Sprintf("stage %d (%s), loss of the last steps", i+1, s.Kind), Score(s.LastLoss()))
		if v := s.LastValidation(); v != nil {
			add(fmt.Sprintf("stage %d (%s), best loss on held-out rows", i+1, s.Kind), Score(v.Best))
		}
		add(fmt.Sprintf("stage %d (%s), time", i+1, s.Kind), Seconds(s.Seconds))
	}
	if peak := runs.PeakMemory(r.steps); peak > 0 {
		add("peak memory", Bytes(peak))
	}
	for _, result := range r.eval.After {
		if result == nil {
			continue
		}
		for _, b := range scored {
			if s := result.Score(b); s.N > 0 {
				add(fmt.Sprintf("%s, %s, %s", result.Policy, eval.Metrics()[0].Title(), b), fmt.Sprintf("%s of %d", s.Metrics.Text(eval.Metrics()[0], 3), s.N))
			}
		}
		if s := result.Score(eval.All); s.N > 0 {
			add(fmt.Sprintf("%s, perplexity", result.Policy), Score(s.Perplexity))
		}
		if result.Budget.Bytes > 0 {
			add(fmt.Sprintf("%s, bytes kept", result.Policy), Bytes(result.Budget.Bytes))
		}
	}
}

// flat has the values of a YAML file by their key paths.
func flat(text string) map[string]string {
	var root any
	out := map[string]string{}
	if yaml.Unmarshal([]byte(text), &root) != nil { // a configuration has been read from it before
		return out
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, of := range v {
				if path != "" {
					k = path + "." + k
				}
				walk(k, of)
			}
		case []any:
			if len(v) == 0 {
				out[path] = "[]"
			}
			for i, of := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), of)
			}
		default:
			out[path] = fmt.Sprint(v)
		}
	}
	walk("", root)
	return out
}

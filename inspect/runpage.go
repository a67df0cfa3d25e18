package inspect

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/internal/htmlpage"
	"eisft/internal/plot"
	"eisft/train/config"
	"eisft/train/runs"
)

// RunPageFile is the page of a run, in its folder.
const RunPageFile = "report.html"

//go:embed run.html
var runPageText string

var runPageTemplate = template.Must(htmlpage.Define(plot.Define(template.New("run"))).Funcs(template.FuncMap{
	"plotStyle": func() template.CSS { return plot.Style },
	"text":      text,
	"title":     capital,
}).Parse(runPageText))

// capital is a heading's text, which begins with a capital if that is a letter of ASCII.
func capital(s string) string {
	if s != "" && s[0] >= 'a' && s[0] <= 'z' {
		return strings.ToUpper(s[:1]) + s[1:]
	}
	return s
}

// RunPageOptions say what the page of runs shows.
type RunPageOptions struct {
	// Samples is how many rows are shown with the tokens that slots keep; 0: none.
	Samples int
	// Data is the file that they come from; "": that of the run's evaluation, or else what it was
	// trained on.
	Data string
}

// pageRun is a run on a page.
type pageRun struct {
	Name   string // the shortest one that tells it from the others
	Report *Report
	Config *config.Config
	Text   string // its configuration's file

	dir   string
	steps []runs.Metrics
	eval  runs.Evaluation
}

// runPage is what the template shows.
type runPage struct {
	Runs     []*pageRun
	Headline []htmlpage.Figure
	Figures  Table // of several runs
	Settings Table // in which several runs differ
	Losses   []*plot.Plot
	Rates    []*plot.Plot
	Heats    []heatPart
	Pruning  []Table
	Recall   *plot.Plot
	Unknown  []string // runs without an evaluation
	Cost     []*plot.Plot
	Samples  []keptSample
	Notes    []string // what samples are not there, and why
	Layers   []int    // with slots, in any of Samples
}

// WriteRunPage writes a page about runs, side by side, that needs no network. It fails for a run
// that was not trained, and for damaged metrics.
func WriteRunPage(ctx context.Context, path string, dirs []string, o RunPageOptions) error {
	p := &runPage{}
	for i, name := range shortNames(dirs) {
		r, err := openPageRun(ctx, dirs[i])
		if err != nil {
			return err
		}
		r.Name = name
		p.Runs = append(p.Runs, r)
	}
	p.headline()
	p.compare()
	p.curves()
	p.heats()
	p.pruning()
	p.recall()
	if err := p.samples(ctx, o); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := runPageTemplate.Execute(&b, p); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, b.Bytes())
}

// openPageRun reads what a run's folder says of its training.
func openPageRun(ctx context.Context, dir string) (*pageRun, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no run %s; eisft train --config FILE trains one", dir)
	}
	if err != nil {
		return nil, err
	}
	r := &pageRun{dir: real}
	text, err := os.ReadFile(filepath.Join(real, runs.ConfigFile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%s is no run's folder: it has no %s", dir, runs.ConfigFile)
	}
	if err != nil {
		return nil, err
	}
	r.Text = string(text)
	if r.Config, err = config.Load(filepath.Join(real, runs.ConfigFile)); err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	if r.steps, err = runs.ReadSteps(filepath.Join(real, runs.MetricsFile)); err != nil {
		return nil, fmt.Errorf("run %s: %w; the page would not show what is behind it: put the file back, or cut it off there", dir, err)
	}
	if len(r.steps) == 0 {
		return nil, fmt.Errorf("run %s has no steps in %s: it was stopped before the first one, or it is an adapter alone; there is nothing to report", dir, runs.MetricsFile)
	}
	r.eval, err = runs.ReadEvaluation(real)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	r.Report = &Report{Path: dir}
	return r, inspectRun(ctx, r.Report, real, Options{})
}

// shortNames are the last parts of paths, as many as tell them apart.
func shortNames(paths []string) []string {
	names, paths := make([]string, len(paths)), slices.Clone(paths)
	for i, p := range paths {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			p = real
		}
		if full, err := filepath.Abs(p); err == nil {
			p = full
		}
		names[i], paths[i] = filepath.Base(p), p
	}
	for i, n := range names {
		if slices.Index(names, n) != i || slices.Contains(names[i+1:], n) {
			return numbered(paths)
		}
	}
	return names
}

// numbered names runs whose folders are called the same by the folders that these are in.
func numbered(paths []string) []string {
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = filepath.Join(filepath.Base(filepath.Dir(p)), filepath.Base(p))
		for j := range i {
			if names[j] == names[i] {
				names[i] = fmt.Sprintf("%s (%d)", names[i], i+1)
			}
		}
	}
	return names
}

// of is a name on the page: of one run the thing's alone.
func (p *runPage) of(r *pageRun, what string) string {
	if len(p.Runs) == 1 {
		return what
	}
	if what == "" {
		return r.Name
	}
	return r.Name + ": " + what
}

// headline are the figures that are looked for first.
func (p *runPage) headline() {
	for _, r := range p.Runs {
		add := func(value, what string) {
			p.Headline = append(p.Headline, htmlpage.Figure{Value: value, What: p.of(r, what)})
		}
		for _, result := range r.eval.After {
			if result == nil || !result.Policy.Trained() {
				continue
			}
			m := eval.Metrics()[0]
			if s := result.Score(eval.Far); s.N > 0 {
				add(s.Metrics.Text(m, 2), fmt.Sprintf("%s, %s, of %d questions: %s", m.Title(), result.Bounds.Describe(eval.Far), s.N, result.Policy.Title()))
			} else if s := result.Score(eval.All); s.N > 0 {
				add(fmt.Sprintf("%.2f", s.Perplexity), fmt.Sprintf("perplexity of %d right answers: %s", s.N, result.Policy.Title()))
			}
		}
		seconds, tokens := 0.0, 0
		for _, m := range r.steps {
			seconds, tokens = seconds+m.Seconds, tokens+m.Tokens
		}
		add(Seconds(seconds).String(), fmt.Sprintf("in %d steps of %d stages", len(r.steps), r.steps[len(r.steps)-1].Stage+1))
		add(Count(float64(tokens)/max(seconds, 1e-9)).String(), "tokens a second, of "+Count(tokens).String())
		if peak := runs.PeakMemory(r.steps); peak > 0 {
			add(Bytes(peak).String(), "of memory, the most that was resident")
		}
	}
}

// recall draws what is recalled by distance.
func (p *runPage) recall() {
	var list []eval.Named
	for _, r := range p.Runs {
		before, after := r.eval.Gained()
		if len(before)+len(after) == 0 {
			p.Unknown = append(p.Unknown, r.Name)
		}
		for _, result := range before {
			if len(p.Runs) == 1 || !result.Policy.Trained() {
				list = append(list, eval.Named{Name: p.of(r, policyName(result, "untrained")), Result: result})
			}
		}
		for _, result := range after {
			list = append(list, eval.Named{Name: p.of(r, policyName(result, "trained")), Result: result})
		}
	}
	p.Recall = eval.RecallByDistance(list)
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"eisft/eval"
	"eisft/export"
	"eisft/export/manifest"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/train/runs"
)

// sayShapes warns of shapes in which the block reads otherwise than where it was evaluated.
func sayShapes(c *cli.Context, run *runs.Run, sizes []export.Size) {
	was := "trained"
	if _, err := os.Stat(filepath.Join(run.Dir, runs.EvalFile)); err == nil {
		was = "trained and evaluated"
	}
	for _, size := range sizes {
		spec, err := size.Fit(run.Model.Spec)
		if err != nil {
			continue // the export says so
		}
		if d := sizesDiffer(run.Model.Spec, spec); d != "" && c.Int("eval-samples") == 0 {
			warn(c, fmt.Sprintf("shape %s reads with %s, with which the run was %s: what it recalls so is not measured yet; --eval-samples 50 measures the model in this shape, and eisft eval --graph its graphs", size, d, was))
		}
	}
}

// sizesDiffer says in what sizes a shape's block is not the run's, "" if there are none.
func sizesDiffer(run, shape model.Spec) string {
	var parts []string
	for _, p := range []struct {
		what     string
		was, now int
	}{{"segments of %s tokens, not %s", run.Segment, shape.Segment}, {"%s slots, not %s", run.Slots, shape.Slots}, {"a window of %s, not %s", run.Window, shape.Window}} {
		if p.was != p.now {
			parts = append(parts, fmt.Sprintf(p.what, humanize.Comma(int64(p.now)), humanize.Comma(int64(p.was))))
		}
	}
	return strings.Join(parts, ", and ")
}

// evaluateShapes measures what the run's model recalls in the sizes of each shape, on the run's
// own evaluation data, for the manifest.
func evaluateShapes(c *cli.Context, run *runs.Run, sizes []export.Size) ([]manifest.Evaluated, error) {
	n := c.Int("eval-samples")
	if n == 0 {
		return nil, nil
	}
	section := run.Config.Eval
	if c.IsSet("eval-data") {
		named, err := files(c, "eval-data")
		if err != nil {
			return nil, err
		}
		section.Data = named
	}
	if section.Nothing() {
		return nil, usagef(c, "--eval-samples has nothing to evaluate on: the run's configuration has no eval.data and no validation.share; give --eval-data FILE")
	}
	section.Samples, section.Policies = n, []eval.Policy{eval.PolicyEISFT}
	sum, err := section.Sum(c.Context)
	if err != nil {
		return nil, err
	}
	var list []manifest.Evaluated
	for _, size := range sizes {
		m, err := size.Of(run.Model)
		if err != nil {
			return nil, err
		}
		job := &eval.Job{
			Model: m, Tokenizer: run.Tokenizer, Template: run.Template, Config: section, Progress: c.App.ErrWriter, Version: version(),
			Dir:  filepath.Join(run.Dir, eval.EvaluationsDir, section.Folder()+"-"+size.String()),
			Note: func(message string) { progress.Println(c.App.ErrWriter, "eisft: "+message) },
		}
		report, err := job.Run(c.Context)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(c.App.Writer, "the model in the sizes of %s:\n", size)
		if err := report.WriteTable(c.App.Writer); err != nil {
			return nil, err
		}
		if len(report.Results) > 0 { // else they are plain texts
			list = append(list, evaluated(size.String(), sum, report.Results[0]))
		}
	}
	return list, nil
}

// evaluated is a result as manifests have it.
func evaluated(shape, sum string, r *eval.Result) manifest.Evaluated {
	e := manifest.Evaluated{Shape: shape, Data: sum}
	for _, b := range []eval.Bucket{eval.Far, eval.Near, eval.All} {
		s := r.Score(b)
		if s.N == 0 {
			continue
		}
		score := manifest.Score{Bucket: string(b), Questions: s.N, Perplexity: s.Perplexity, Metrics: map[string]float64{}}
		for m, v := range s.Metrics {
			score.Metrics[string(m)] = v
		}
		e.Scores = append(e.Scores, score)
	}
	return e
}

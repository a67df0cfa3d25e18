package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"eisft/eval"
	"eisft/quant"
	"eisft/train/runs"
)

// inspectQuantized describes a folder that eisft quantize wrote.
func inspectQuantized(_ context.Context, r *Report, dir string, _ Options) error {
	r.Kind = "quantized model"
	q, err := quant.Load(dir)
	if err != nil {
		r.problem(err)
		return nil
	}
	r.fact("scheme", q.Scheme.String())
	r.fact("range", string(q.Range))
	for _, t := range q.Transforms() {
		r.fact("transform", t)
	}
	r.fact("base identity", q.Base)
	codes, size := 0, 0
	for _, w := range q.Weights {
		codes, size = codes+len(w.Codes), size+w.Bytes()
	}
	r.fact("quantized weights", Count(codes))
	r.fact("size of the weights", Bytes(size))
	r.fact("matrices", len(q.Weights))
	r.fact("activations", len(q.Points))
	r.fact("calibrated on", fmt.Sprintf("%d samples, %s prompt and %s generated tokens", q.Calibration.Samples, Count(q.Calibration.Prompt), Count(q.Calibration.Steps)))
	for _, w := range q.Calibration.Warnings {
		r.note("calibration: %s", w)
	}
	report, err := quant.ReadReport(dir)
	if errors.Is(err, fs.ErrNotExist) {
		r.note("there is no %s: eisft quantize writes it", quant.ReportFile)
		return nil
	}
	r.problem(err)
	if err == nil {
		r.recipe(report)
		r.quantization(report)
		r.comparisons(report)
		r.weakest(report)
	}
	return nil
}

// recipe adds what a quantized model was made by.
func (r *Report) recipe(report *quant.Report) {
	p := report.Recipe
	r.fact("recipe", p.Name)
	r.fact("weights", p.Weights)
	if p.Target != "" {
		r.fact("target", p.Target)
	}
	if p.Reconstruct.Steps > 0 {
		r.fact("reconstruction", fmt.Sprintf("%d steps a layer", p.Reconstruct.Steps))
	}
	if p.Cache != "" {
		r.fact("cache", string(p.Cache))
	}
	for _, e := range p.Exceptions {
		r.fact("exception", fmt.Sprintf("%s in %d bits", e.Match, e.Bits))
	}
	if m := report.Mixed; m != nil && len(m.Promoted) > 0 {
		r.fact("promoted to 8 bits", fmt.Sprintf("%d maps, %s first", len(m.Promoted), m.Promoted[0]))
	}
	r.fact("multiplications in float", Share(report.FloatShare()))
}

// comparisons adds what quantization changed, with intervals.
func (r *Report) comparisons(report *quant.Report) {
	if report.Evaluation == nil {
		return
	}
	t := Table{Title: "before and after, on the same conversations", Columns: []string{"figure", "before", "after", "change", "95 % interval"}}
	for _, c := range report.Evaluation.Comparisons {
		what, before, after, change, interval := c.Words()
		t.row(what, before, after, change, interval)
	}
	r.table(t)
}

// quantization adds what quantization changed.
func (r *Report) quantization(report *quant.Report) {
	before, after := &eval.Result{}, &eval.Result{} // without scores, if there was nothing to evaluate on
	if e := report.Evaluation; e != nil && e.Scores.Before != nil {
		before, after = e.Scores.Before, e.Scores.After
	}
	t := scoreTable("float and "+report.Scheme.Name, []*eval.Result{before, after}, "size")
	t.scores("float", before, Bytes(report.Size.Before))
	t.scores(report.Scheme.Name, after, Bytes(report.Size.After))
	r.table(t)
}

// weakest adds the tensors that rounding changes most.
func (r *Report) weakest(report *quant.Report) {
	const most = 3
	t := Table{Title: "lowest signal to quantization noise", Columns: []string{"tensor", "bits", "dB", "clipped"}}
	bySignal := func(a, b quant.WeightReport) int { return cmp.Compare(a.SQNR, b.SQNR) }
	weights := slices.SortedStableFunc(slices.Values(report.Weights), bySignal)
	for _, w := range weights[:min(most, len(weights))] {
		t.row(w.Name, w.Bits, w.SQNR, Share(w.ClipRate))
	}
	points := slices.SortedStableFunc(slices.Values(report.Activations), func(a, b quant.ActivationReport) int { return cmp.Compare(a.SQNR, b.SQNR) })
	for _, p := range points[:min(most, len(points))] {
		t.row(p.Name, p.Encoding.Bits, p.SQNR, Share(p.ClipRate))
	}
	r.table(t)
}

// quantizations adds the quantized models of a run.
func (r *Report) quantizations(dir string) {
	found, err := subfolders(dir, runs.QuantDir)
	r.problem(err)
	if len(found) == 0 {
		r.note("not quantized yet: eisft quantize --run %s --calib FILE", r.Path)
	}
	for _, f := range found {
		report, err := quant.ReadReport(f)
		r.problem(err)
		if err == nil {
			r.quantization(report)
		}
	}
	for _, name := range quant.Stopped(filepath.Join(dir, runs.QuantDir)) {
		r.note("quantizing %s was stopped: the same command goes on, or begins anew where anything differs; what it has done lies in %s",
			name, filepath.Join(r.Path, runs.QuantDir, "."+name+".partial*"))
	}
}

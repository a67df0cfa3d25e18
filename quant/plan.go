package quant

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/agenda"
	"eisft/internal/bytesize"
)

// Plan says what a job will do.
type Plan struct {
	agenda.Agenda
	Size Change[int] // bytes of the model, before any promotion
}

// Plan finds out what the job will do and checks what it can without computing anything.
func (j *Job) Plan(ctx context.Context) (*Plan, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	rows, err := j.heldOut()
	if err != nil {
		return nil, err
	}
	samples, tokens, err := j.count(ctx)
	if err != nil {
		return nil, err
	}
	r, s := j.Recipe, schemes.Get(j.Recipe.Scheme)
	pipe := &pipeline{job: j, recipe: r, scheme: s}
	p := &Plan{Size: plannedSize(j.Model, pipe.format(nil))}
	read := fmt.Sprintf("%s of %s, %s tokens", english.Plural(samples, "sample", ""), j.Calibration.Path, humanize.Comma(int64(tokens)))
	if len(r.Transforms) > 0 {
		p.Add("channels", "%s", read)
		p.Add("transform", "%s", strings.Join(r.Transforms, ", "))
	}
	p.Add("calibrate", "%s", read)
	if r.Sensitivity > 0 && r.Cache == CacheAuto {
		p.Add("widths of the cache", "%s", p.measurements(2*len(j.Model.Base.Layers)+1, r.Sensitivity))
	}
	maps := frozen(j.Model.Base)
	p.Add("weights", "%s, %d maps of %d layers and the head in %s", r.Weights, len(maps), len(j.Model.Base.Layers), s.Weight)
	if r.Reconstruct.Steps > 0 {
		p.Add("reconstruct", "%d steps a layer on %s tokens", r.Reconstruct.Steps, humanize.Comma(int64(r.Reconstruct.Tokens)))
	}
	if r.Sensitivity > 0 {
		p.Add("sensitivity", "%s", p.measurements(len(maps)+len(j.Model.Base.Layers), r.Sensitivity))
		if s.Weight.Bits < promoted {
			p.Add("frontier", "%s", p.measurements(frontierSteps+1, r.Sensitivity))
		}
	}
	if rows != nil {
		p.evaluation(j, rows)
	}
	write := j.Dir
	if _, err := os.Stat(j.Dir); err == nil {
		write += ", in place of what is there"
	}
	p.Add("write", "%s", write)
	p.Add("size", "%s, now %s", bytesize.Megabytes(p.Size.After), bytesize.Megabytes(p.Size.Before))
	return p, nil
}

// measurements words how often the loss is measured.
func (p *Plan) measurements(n, tokens int) string {
	return fmt.Sprintf("%d measurements of the loss, on %s tokens each", n, humanize.Comma(int64(tokens)))
}

// evaluation adds what is evaluated, and the variants of an ablation.
func (p *Plan) evaluation(j *Job, h *heldOut) {
	tokens := 0
	for _, r := range h.rows {
		tokens += max(0, len(r.IDs)-h.from)
	}
	p.Add("evaluate", "the loss of %s tokens and %s of %s of %s, in float and quantized",
		humanize.Comma(int64(tokens)), english.Plural(eval.Questions(h.questions()), "answer", ""), english.Plural(len(h.rows), "row", ""), j.Evaluation.Path)
	if j.Ablation {
		var names []string
		for _, v := range j.Recipe.variants() {
			names = append(names, v.what)
		}
		p.Add("ablation", "%s", strings.Join(names, ", "))
	}
}

// count encodes the calibration samples.
func (j *Job) count(ctx context.Context) (samples, tokens int, err error) {
	list, done, err := j.samples("count tokens", 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, done()) }()
	for s, err := range list {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", j.Calibration.Path, err)
		}
		samples, tokens = samples+1, tokens+len(s.IDs)
	}
	if samples == 0 {
		return 0, 0, fmt.Errorf("%s: %w", j.Calibration.Path, data.ErrEmpty)
	}
	return samples, tokens, nil
}

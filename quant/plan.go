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
	rows, err := j.heldOut(ctx)
	if err != nil {
		return nil, err
	}
	read, err := j.count(ctx)
	if err != nil {
		return nil, err
	}
	r, s := j.Recipe, schemes.Get(j.Recipe.Scheme)
	pipe := &pipeline{job: j, recipe: r, scheme: s}
	p := &Plan{Size: plannedSize(j.Model, pipe.format(nil))}
	whole := read.words(0) + " of " + j.Calibration.Files.String()
	if len(r.Transforms) > 0 {
		p.Add("channels", "%s", whole)
		p.Add("transform", "%s", strings.Join(r.Transforms, ", "))
	}
	p.Add("calibrate", "%s", whole)
	probed := min(r.Sensitivity, read.predicted)
	if r.Sensitivity > 0 && r.Cache == CacheAuto {
		p.Add("widths of the cache", "%s", p.measurements(2*len(j.Model.Base.Layers)+1, probed))
	}
	maps := frozen(j.Model.Base)
	weights := fmt.Sprintf("%s, %d maps of %d layers and the head in %s", r.Weights, len(maps), len(j.Model.Base.Layers), s.Weight)
	if roundings.Get(r.Weights).wants != nil || r.Reconstruct.Steps > 0 {
		weights += ", on what the layers before each make of " + read.words(r.mostSequences())
	}
	p.Add("weights", "%s", weights)
	if r.Reconstruct.Steps > 0 {
		p.Add("reconstruct", "%d steps a layer on %s tokens", r.Reconstruct.Steps, humanize.Comma(int64(min(r.Reconstruct.Tokens, read.tokens(r.mostSequences())))))
	}
	if r.Sensitivity > 0 {
		p.Add("sensitivity", "%s", p.measurements(len(maps)+len(j.Model.Base.Layers), probed))
		if s.Weight.Bits < promoted {
			p.Add("frontier", "%s", p.measurements(frontierSteps+1, probed))
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
		humanize.Comma(int64(tokens)), english.Plural(eval.Questions(h.questions()), "answer", ""), english.Plural(len(h.rows), "row", ""), j.Evaluation.Name())
	if j.Ablation {
		var names []string
		for _, v := range j.Recipe.variants() {
			names = append(names, v.what)
		}
		p.Add("ablation", "%s", strings.Join(names, ", "))
	}
}

// counted are the calibration samples.
type counted struct {
	lengths   []int // in tokens, of each sample that fills a segment: others are left out
	predicted int   // tokens behind the first segment of their sample
}

// of returns the lengths of the first n samples (0: all).
func (c counted) of(n int) []int {
	if n == 0 {
		return c.lengths
	}
	return c.lengths[:min(n, len(c.lengths))]
}

// tokens is the number of tokens of the first n samples (0: all).
func (c counted) tokens(n int) int {
	sum := 0
	for _, length := range c.of(n) {
		sum += length
	}
	return sum
}

// words says how much the first n samples are (0: all).
func (c counted) words(n int) string {
	return fmt.Sprintf("%s, %s tokens", english.Plural(len(c.of(n)), "sample", ""), humanize.Comma(int64(c.tokens(n))))
}

// count encodes the calibration samples.
func (j *Job) count(ctx context.Context) (c counted, err error) {
	list, done, err := j.samples("count tokens", 0)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, done()) }()
	long := longEnough{segment: j.Model.Spec.Segment}
	all := func(yield func(data.Encoded, error) bool) {
		for s, err := range list {
			c.predicted += max(0, len(s.IDs)-long.segment)
			if !yield(s, errors.Join(err, ctx.Err())) {
				return
			}
		}
	}
	for s, err := range long.of(all) {
		if err != nil {
			return c, fmt.Errorf("%s: %w", j.Calibration.Files, err)
		}
		c.lengths = append(c.lengths, len(s.IDs))
	}
	if err := long.missing(); err != nil {
		return c, fmt.Errorf("%s: %w", j.Calibration.Files, err)
	}
	return c, nil
}

package quant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/model/tokenizer"
)

// Job quantizes a model and writes what came out: all that `eisft quantize` does.
type Job struct {
	Model     *model.Model
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.Template
	Scheme    Scheme
	Range     Range

	Calibration File
	// Evaluation, if its path is not empty, is evaluated on before and after;
	// answers are cut at MaxNewTokens.
	Evaluation   File
	MaxNewTokens int

	Dir string // the folder to write, which may be there; its parents are made
	// Progress receives progress lines (nil: none), usually os.Stderr.
	Progress io.Writer
}

// File is a data file, of which the first Samples are used (0: all).
type File struct {
	Path    string
	Options data.Options
	Samples int
}

// Run calibrates, quantizes, evaluates and writes, in this order: where it
// fails, or ctx is cancelled, the folder is what it was before.
func (j *Job) Run(ctx context.Context) (*Report, error) {
	if err := j.checkOutput(); err != nil {
		return nil, err
	}
	questions, err := j.questions()
	if err != nil {
		return nil, err
	}
	seen, err := j.calibrate(ctx)
	if err != nil {
		return nil, err
	}
	q, err := Quantize(j.Model, j.Scheme, j.Range, seen)
	if err != nil {
		return nil, err
	}
	r := newReport(j.Model, q, seen)
	r.Data = j.Calibration.Path
	if len(questions) > 0 {
		if r.Evaluation, err = j.evaluate(ctx, q, questions); err != nil {
			return nil, err
		}
	}
	return r, j.write(q, r)
}

// questions reads what is evaluated on; nothing if there is no file.
func (j *Job) questions() (_ []eval.Sample, err error) {
	if j.Evaluation.Path == "" {
		return nil, nil
	}
	source, err := data.Open(j.Evaluation.Path, j.Evaluation.Options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	source.Announce(j.Progress)
	return eval.Load(source, j.encoder(), j.Evaluation.Samples)
}

// encoder encodes samples whole: a stream reads them in constant memory.
func (j *Job) encoder() *data.Encoder { return data.NewEncoder(j.Tokenizer, j.Template, 0) }

func (j *Job) calibrate(ctx context.Context) (_ *Statistics, err error) {
	source, err := data.Open(j.Calibration.Path, j.Calibration.Options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	source.Announce(j.Progress)
	n := source.Len()
	if j.Calibration.Samples > 0 {
		n = min(n, j.Calibration.Samples)
	}
	line := progress.Start(j.Progress, progress.Task{What: "calibrate", Unit: "samples", Total: n})
	defer line.End()
	seen, err := Calibrate(ctx, j.Model, first(source, j.encoder(), n, line))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.Calibration.Path, err)
	}
	return seen, nil
}

// first reads and encodes the first n samples, one at a time.
func first(s *data.Source, e *data.Encoder, n int, line *progress.Line) iter.Seq2[data.Encoded, error] {
	return func(yield func(data.Encoded, error) bool) {
		for i := range n {
			sample, err := s.At(i)
			if err != nil {
				yield(data.Encoded{}, err)
				return
			}
			if enc, err := e.Encode(sample); !yield(enc, err) {
				return
			}
			line.Add(1)
		}
	}
}

// evaluate scores the float model and the fake-quantized one.
func (j *Job) evaluate(ctx context.Context, q *Quantized, samples []eval.Sample) (*Evaluation, error) {
	faked, wrap, err := Apply(j.Model, q)
	if err != nil {
		return nil, err
	}
	e := &Evaluation{Data: j.Evaluation.Path, Samples: len(samples)}
	if e.Scores.Before, err = j.score(ctx, "eval float", j.Model, nil, samples); err != nil {
		return nil, err
	}
	e.Scores.After, err = j.score(ctx, "eval "+q.Scheme.Name, faked, wrap, samples)
	return e, err
}

// score evaluates a model with its block, under a progress line.
func (j *Job) score(ctx context.Context, what string, m *model.Model, w model.Wrap, samples []eval.Sample) (*eval.Result, error) {
	line := progress.Start(j.Progress, progress.Task{What: what, Unit: "answers", Total: eval.Questions(samples)})
	defer line.End()
	r, err := eval.Run(ctx, m, eval.PolicyEdgeInfinite, j.Tokenizer, samples, eval.Options{
		MaxNewTokens: j.MaxNewTokens, Stream: model.StreamOptions{Wrap: w},
		Answered: func(eval.Answer) { line.Add(1) },
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return r, nil
}

// write writes all files as one folder.
func (j *Job) write(q *Quantized, r *Report) error {
	if err := os.MkdirAll(filepath.Dir(j.Dir), 0o755); err != nil {
		return err
	}
	page, err := r.page()
	if err != nil {
		return fmt.Errorf("write %s: %w", PageFile, err)
	}
	d, err := atomicfile.CreateDir(j.Dir)
	if err != nil {
		return err
	}
	defer d.Abort()
	if err := q.write(d.Path()); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(d.Path(), ReportFile), r); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(d.Path(), PageFile), page); err != nil {
		return err
	}
	return d.Replace(owned)
}

// checkOutput finds out before the work whether the folder can be written.
func (j *Job) checkOutput() error {
	if err := owned(j.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return atomicfile.CheckDir(j.Dir)
}

// owned tells why a folder may not be replaced: it holds what this package did not write.
func owned(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() || !slices.Contains([]string{WeightsFile, EncodingsFile, FoldedFile, ReportFile, PageFile}, e.Name()) {
			return fmt.Errorf("%s cannot be replaced: %s in it was not written by eisft quantize; move it away", dir, e.Name())
		}
	}
	return err
}

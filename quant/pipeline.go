package quant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eisft/data"
	"eisft/internal/atomicfile"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/quant/encoding"
)

// made is what a recipe has made of a model.
type made struct {
	float *model.Model // after the transforms: what q was rounded from
	q     *Quantized
	seen  *Statistics
	// What was measured on the way, nil where nothing was.
	cache       *CacheReport
	sensitivity *SensitivityReport
	mixed       *MixedReport
}

// close ends the use of the weights.
func (m *made) close() error {
	if m.q == nil {
		return nil
	}
	return m.q.shelf.close()
}

// make carries a recipe out: transforms, calibration, encodings of points, weights, mixed
// precision. what says in progress lines which of several recipes it is, "" for the only
// one. Its weights lie in files until it is closed.
func (j *Job) make(ctx context.Context, r *Recipe, what string) (_ *made, err error) {
	s, err := r.adapted()
	if err != nil {
		return nil, err
	}
	p := &pipeline{job: j, recipe: r, scheme: s, what: what}
	out := &made{float: j.Model}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.close())
		}
	}()
	var folded *Folded
	if len(r.Transforms) > 0 {
		if out.float, folded, err = p.transform(ctx); err != nil {
			return nil, err
		}
	}
	if out.seen, err = p.calibrate(ctx, out.float); err != nil {
		return nil, err
	}
	p.probe = &probe{job: j, float: out.float, tokens: r.Sensitivity, what: what}
	if r.Sensitivity > 0 {
		if err := p.probe.open(ctx); err != nil {
			return nil, err
		}
	}
	if out.q, err = EncodePoints(out.float, s, r.Ranges, out.seen, r.pointFormats(out.float)); err != nil {
		return nil, err
	}
	out.q.Base, out.q.Folded = j.Model.Base.Identity(), folded
	if r.Cache == CacheAuto {
		if out.cache, err = p.chooseCache(ctx, out); err != nil {
			return nil, err
		}
	}
	if err := p.round(ctx, out.float, out.q, nil); err != nil {
		return nil, err
	}
	if r.Sensitivity > 0 {
		return out, p.measure(ctx, out)
	}
	return out, nil
}

// pipeline is one call of make.
type pipeline struct {
	job    *Job
	recipe *Recipe
	scheme Scheme
	what   string
	probe  *probe
}

// openCalibration opens the calibration data, of several entries a row of each in turn.
func (j *Job) openCalibration() (*data.Source, error) {
	set := j.Calibration
	set.Samples = 0 // of each entry; here they are counted over all
	source, err := set.Open()
	if err != nil {
		return nil, err
	}
	return source.Spread(), nil
}

// samples opens the calibration data anew and gives its first n samples (0: as many as the
// job says), encoded one at a time, under a progress line. done closes what is open.
func (j *Job) samples(what string, n int) (samples iter.Seq2[data.Encoded, error], done func() error, err error) {
	source, err := j.openCalibration()
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		n = j.Calibration.Samples
	}
	if n == 0 || n > source.Len() {
		n = source.Len()
	}
	line := progress.Start(j.Progress, progress.Task{What: what, Unit: "samples", Total: n})
	done = func() error {
		line.End()
		return source.Close()
	}
	return first(source, j.encoder(), n, line), done, nil
}

// each gives the samples anew each time that it is called, without a progress line.
func (j *Job) each() iter.Seq2[data.Encoded, error] {
	return func(yield func(data.Encoded, error) bool) {
		quiet := *j
		quiet.Progress = nil
		samples, done, err := quiet.samples("", 0)
		if err != nil {
			yield(data.Encoded{}, err)
			return
		}
		stopped := false
		for s, err := range samples {
			if stopped = !yield(s, err); stopped || err != nil {
				break
			}
		}
		if err := done(); err != nil && !stopped {
			yield(data.Encoded{}, err)
		}
	}
}

// titled is what a progress line calls a stage.
func (p *pipeline) titled(stage string) string {
	if p.what == "" {
		return stage
	}
	return p.what + ": " + stage
}

// transform rewrites the float model, with statistics of channels where it wants them.
func (p *pipeline) transform(ctx context.Context) (_ *model.Model, _ *Folded, err error) {
	wants, err := WantsChannels(p.recipe)
	if err != nil || !wants {
		m, folded, failed := Transform(ctx, p.job.Model, p.recipe, nil)
		return m, folded, cmp.Or(err, failed)
	}
	samples, done, err := p.job.samples(p.titled("channels"), 0)
	if err != nil {
		return nil, nil, err
	}
	channels, err := collectChannels(ctx, p.job.Model, samples, p.job.group())
	if err = errors.Join(err, done()); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", p.job.Calibration.Files, err)
	}
	return Transform(ctx, p.job.Model, p.recipe, channels)
}

// calibrate observes the points of a model.
func (p *pipeline) calibrate(ctx context.Context, m *model.Model) (*Statistics, error) {
	samples, done, err := p.job.samples(p.titled("calibrate"), 0)
	if err != nil {
		return nil, err
	}
	seen, err := calibrate(ctx, m, samples, p.job.group())
	if err = errors.Join(err, done()); err != nil {
		return nil, fmt.Errorf("%s: %w", p.job.Calibration.Files, err)
	}
	seen.Warnings = append(seen.Warnings, constantMaps(p.job.Model.Base)...)
	if have, want := seen.Samples+seen.Short, p.job.Calibration.Samples; have < want {
		seen.Warnings = append(seen.Warnings, fmt.Sprintf("%s has %d samples, and %d were asked for", p.job.Calibration.Files, have, want))
	}
	return seen, nil
}

// round chooses the weights' codes; maps that are promoted get 8 bits.
func (p *pipeline) round(ctx context.Context, m *model.Model, q *Quantized, promote map[string]bool) error {
	o := RoundOptions{Recipe: p.recipe, Samples: p.job.each, Progress: p.job.Progress, Format: p.format(promote), Group: p.job.group()}
	if p.recipe.Reconstruct.Steps > 0 {
		o.Refine = p.job.Reconstruct(m, p.recipe, q, p.job.Progress)
	}
	o.Partial = p.job.partial(p.stage(len(promote) > 0))
	if err := RoundWeights(ctx, m, q, o); err != nil {
		return err
	}
	if p.recipe.Sensitivity == 0 && p.job.Evaluation.Nothing() { // no model of them will run
		return nil
	}
	return q.shelf.products(o.Group, filepath.Join(o.Partial, fmt.Sprintf(productsFile, 0)), q.Weights)
}

// format gives the format of each map.
func (p *pipeline) format(promote map[string]bool) func(name string, head bool) encoding.Format {
	return func(name string, head bool) encoding.Format {
		if promote[name] {
			return p.scheme.weightOf(promoted)
		}
		return p.recipe.mapFormat(p.scheme, name, head)
	}
}

// The stages of a job that have a folder for their weights.
const (
	stageFirst    = ""          // the recipe, before maps are promoted
	stagePromoted = "-promoted" // and after
	stageVariant  = "-variant"  // a part of the recipe, for an ablation
)

var stages = []string{stageFirst, stagePromoted, stageVariant}

// stage is the one that weights are rounded for.
func (p *pipeline) stage(promoted bool) string {
	switch {
	case p.what != "":
		return stageVariant
	case promoted:
		return stagePromoted
	default:
		return stageFirst
	}
}

// partial is the folder of a stage: the weights that are done lie there, and a stopped job goes
// on from it. It is one for all ranks.
func (j *Job) partial(stage string) string {
	return filepath.Join(filepath.Dir(j.Dir), "."+filepath.Base(j.Dir)+partialSuffix+stage)
}

// partialSuffix follows the name of a model in that of a stage's folder.
const partialSuffix = ".partial"

// forget removes what was kept of a job that is done.
func (j *Job) forget() error {
	var err error
	for _, s := range stages {
		err = errors.Join(err, os.RemoveAll(j.partial(s)))
	}
	return err
}

// Stopped lists the names of the models whose rounded weights a job that was stopped has left in
// dir, the folder of a run's quantized models: the same job goes on from them.
func Stopped(dir string) []string {
	entries, _ := os.ReadDir(dir) // where there is none, nothing was left
	var names []string
	for _, e := range entries {
		name := stopped(e.Name())
		if name == "" || !e.IsDir() || slices.Contains(names, name) || atomicfile.Holder(lockPath(filepath.Join(dir, name))) != nil {
			continue
		}
		names = append(names, name)
	}
	return names
}

// stopped is the name of the model that a stage's folder is for, "" if it is no such folder.
func stopped(folder string) string {
	at := strings.LastIndex(folder, partialSuffix)
	if at < 1 || folder[0] != '.' {
		return ""
	}
	if !slices.Contains(stages, folder[at+len(partialSuffix):]) {
		return ""
	}
	return folder[1:at]
}

// encoder encodes samples whole: a stream reads them in constant memory.
func (j *Job) encoder() *data.Encoder { return data.NewEncoder(j.Tokenizer, j.Template, 0) }

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

// announce says how the calibration data are understood.
func (j *Job) announce(w io.Writer) (err error) {
	source, err := j.openCalibration()
	if err != nil {
		return err
	}
	source.Announce(w)
	return source.Close()
}

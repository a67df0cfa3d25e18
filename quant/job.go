package quant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/internal/ranks"
	"eisft/internal/strictyaml"
	"eisft/model"
	"eisft/model/tokenizer"
)

// Job quantizes a model and writes what came out: all that `eisft quantize` does.
type Job struct {
	Model     *model.Model
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.Template
	Recipe    *Recipe

	Calibration data.Set // of which the first Samples are used, of all entries together
	// Evaluation is what the model is evaluated on before and after, if there is something;
	// its policies are not used. Samples 0: as many as it takes for 150 questions near and far.
	Evaluation eval.Config
	// Trained opens the rows that the model was trained on, which it is not evaluated on; nil
	// where they are not known.
	Trained func(context.Context) (*data.Source, error)
	// Ablation measures what each method of the recipe gains over those before it, which
	// carries out a recipe for each.
	Ablation bool

	Dir string // the folder to write, which may be there; its parents are made
	// Group are the ranks that quantize together (nil: this process alone). All have the same
	// job and see the same folder of it: they share the samples of calibration, of channels and of the
	// evaluation, what the weights are rounded on, their scales and the losses of sensitivity; each
	// does the rest. Rank 0 writes.
	Group ranks.Group
	// Progress receives progress lines (nil: none), usually os.Stderr.
	Progress io.Writer
	Version  string // of the program, for the report
	// Reconstruct returns what fits a layer after its weights are rounded, nil where the recipe
	// does not ask for it: fit.Reconstruct, which needs the autodiff graph. It may be nil if
	// no recipe asks.
	Reconstruct func(m *model.Model, r *Recipe, q *Quantized, progress io.Writer) func(context.Context, *Layer) error
}

// Run carries out the recipe, evaluates and writes, in this order: where it
// fails, or ctx is cancelled, the folder is what it was before.
func (j *Job) Run(ctx context.Context) (*Report, error) {
	r, err := j.run(ctx)
	return r, ranks.Tell(j.group(), err)
}

func (j *Job) group() ranks.Group { return ranks.Or(j.Group) }

// writes says whether this process writes: rank 0 does.
func (j *Job) writes() bool { return j.group().Rank() == 0 }

func (j *Job) run(ctx context.Context) (_ *Report, err error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	rows, err := j.heldOut(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := j.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := j.announce(j.Progress); err != nil {
		return nil, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	made, err := j.make(ctx, j.Recipe, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, made.close()) }()
	r, err := j.report(ctx, made)
	if err != nil {
		return nil, err
	}
	if rows != nil {
		var losses textLosses
		if r.Evaluation, losses, err = j.evaluate(ctx, made, rows); err != nil {
			return nil, err
		}
		if j.Ablation {
			if r.Ablation, err = j.ablate(ctx, rows, losses); err != nil {
				return nil, err
			}
		}
	}
	if !j.writes() {
		return r, nil
	}
	return r, j.write(made.q, r)
}

// lock keeps other processes from the weights that lie in files while the job is at work: they
// have the folder's name, whatever the recipe. Rank 0 holds it for all ranks.
func (j *Job) lock() (unlock func(), err error) {
	if !j.writes() {
		return func() {}, nil
	}
	parent := filepath.Dir(j.Dir)
	_, err = os.Stat(parent)
	ours := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	lock, err := atomicfile.TakeLock(lockPath(j.Dir))
	if errors.As(err, new(*atomicfile.LockedError)) {
		return nil, fmt.Errorf("%s is being written: %w; wait until that has ended, or give another name", j.Dir, err)
	}
	if err != nil {
		return nil, err
	}
	return func() {
		lock.Release()
		if ours {
			_ = os.Remove(parent) // where nothing has come into it
		}
	}, nil
}

func lockPath(dir string) string {
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".lock")
}

// check finds out before the work what cannot be done.
func (j *Job) check() error {
	if err := j.checkOutput(); err != nil {
		return err
	}
	d := strictyaml.New("the recipe")
	if j.Recipe.check(d); d.Err() == nil {
		j.Recipe.fit(d, j.Model)
	}
	if err := d.Err(); err != nil {
		return err
	}
	if j.Recipe.Reconstruct.Steps > 0 && j.Reconstruct == nil {
		return errors.New("the recipe asks for reconstruction, but the job has no Reconstruct")
	}
	if j.Ablation && j.Evaluation.Nothing() {
		return errors.New("there is nothing to measure an ablation on; name held-out data with --eval-data")
	}
	return checkParams(j.Model)
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
	if err := d.Replace(owned); err != nil {
		return err
	}
	return j.forget()
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

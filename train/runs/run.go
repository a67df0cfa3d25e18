// Package runs opens what training has left in a run folder: its configuration, the base
// with the trained block, its metrics and its evaluation. It knows nothing of how a run
// is trained, so that whoever only uses one does not link the autodiff graph.
package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"eisft/model"
	"eisft/model/tokenizer"
	"eisft/train/config"
)

// The files of a run folder, beside the adapter's.
const (
	ConfigFile     = "config.yaml"            // resolved configuration
	MetricsFile    = "metrics.jsonl"          // one line a step
	EvalFile       = "eval.json"              // before and after
	CheckpointFile = "checkpoint.safetensors" // parameters, optimizer, position in the data
	LockFile       = ".lock"                  // held by the process that trains
	// Latest is the link beside the runs that points to the newest trained one.
	Latest = config.Latest
)

// Run is a trained run, opened.
type Run struct {
	Dir       string
	Config    config.Config
	Model     *model.Model
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.Template // nil if the base has none
}

// Open opens a run folder: its configuration, the base it names, and the
// adapter trained for it.
func Open(dir string) (*Run, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no run %s; train one with eisft train --config FILE, or name its folder with --run", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	cfg, err := config.Load(filepath.Join(real, ConfigFile))
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	r := &Run{Dir: real, Config: *cfg}
	base, err := r.openBase()
	if err != nil {
		return nil, err
	}
	if r.Model, err = model.LoadAdapter(base, real); err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	return r, nil
}

// OpenUntrained opens the base that a configuration names, with its block as
// training finds it.
func OpenUntrained(c *config.Config) (*Run, error) {
	r := &Run{Config: *c}
	base, err := r.openBase()
	if err != nil {
		return nil, err
	}
	if r.Model, err = model.New(base, c.Block.Spec, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Model.Path, err)
	}
	return r, nil
}

// openBase opens what the configuration's model folder holds.
func (r *Run) openBase() (*model.Base, error) {
	path := r.Config.Model.Path
	base, err := model.LoadBase(path)
	if err != nil {
		return nil, err
	}
	base.Hold(r.Config.Model.DType)
	if r.Tokenizer, err = tokenizer.Load(path); err != nil {
		return nil, err
	}
	if r.Template, err = tokenizer.LoadTemplate(path); err != nil && !errors.Is(err, tokenizer.ErrNoTemplate) {
		return nil, err
	}
	if n := r.Tokenizer.VocabSize(); n > base.Embed.Out {
		return nil, fmt.Errorf("%s: the tokenizer has %d tokens, but the model embeds only %d; they belong to different models", path, n, base.Embed.Out)
	}
	return base, nil
}

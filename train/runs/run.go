// Package runs opens what training has left in a run folder: its configuration, the base
// with the trained block, its metrics and its evaluation. It knows nothing of how a run
// is trained, so that whoever only uses one does not link the autodiff graph.
package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"eisft/data"
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
	FinishedFile   = "finished.safetensors"   // the last checkpoint of a finished run, which can be extended
	BestDir        = "best"                   // the adapter with the best loss on held-out samples, of the last stage that has some
	CheckpointsDir = "checkpoints"            // adapters of earlier checkpoints
	LockFile       = ".lock"                  // held by the process that trains
	// Latest is the link beside the runs that points to the one that ended well last.
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

// Open opens a run's folder: its configuration, the base it names, and the adapter trained
// for it. A folder that holds an adapter alone will do: what its configuration would say is
// then the default.
func Open(dir string) (*Run, error) { return OpenOn(dir, "") }

// OpenOn is Open with the base at a path, not where the folder says that it is ("": there). It
// must be the same one.
func OpenOn(dir, base string) (*Run, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no run %s; train one with eisft train --config FILE, or name its folder with --run%s", dir, unfinished(dir))
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	r, err := open(real, base)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	return r, nil
}

// unfinished adds to an error about the link to the latest run which runs have not ended yet.
func unfinished(dir string) string {
	if filepath.Base(dir) != Latest {
		return ""
	}
	list, _ := List(filepath.Dir(dir))
	var names []string
	for _, s := range list {
		if s.State == Running || s.State == Stopped {
			names = append(names, fmt.Sprintf("%s (%s)", s.Dir, s.State))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ": there is " + strings.Join(names, ", ")
}

func open(dir, base string) (*Run, error) {
	cfg, err := Configuration(dir)
	if err != nil {
		return nil, err
	}
	if base != "" {
		if cfg.Model.Path, err = filepath.Abs(base); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(cfg.Model.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("its base is not at %s; put it there, or say with --model where it is", cfg.Model.Path)
	}
	r := &Run{Dir: dir, Config: *cfg}
	b, err := r.openBase()
	if err != nil {
		return nil, err
	}
	if r.Model, err = model.LoadAdapter(b, dir); err != nil {
		return nil, err
	}
	return r, CheckBlock(cfg, r.Model)
}

// Configuration reads the configuration of the run in a folder, or makes that of an adapter
// that lies there alone.
func Configuration(dir string) (*config.Config, error) {
	path := filepath.Join(dir, ConfigFile)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return config.Load(path)
	}
	a, err := model.ReadAdapter(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("found neither %s of a run nor %s of an adapter there; name the folder of one", ConfigFile, model.AdapterConfig)
	}
	if err != nil {
		return nil, err
	}
	return config.OfAdapter(dir, a), nil
}

// CheckBlock holds the block of a run's adapter to that of its configuration. Pruning may
// have taken away the slots of some layers; without a stage that prunes, and beside that,
// they are the same.
func CheckBlock(c *config.Config, m *model.Model) error {
	const advice = "they belong to different runs, or one was edited: put back the one that was there after training"
	want, kept := c.Block.Spec, m.Spec
	if c.Prunes() {
		for _, i := range m.SlotLayers() {
			if want.At(i).Slots == 0 {
				return fmt.Errorf("%s has slots in layer %d, but %s has none there; %s", model.AdapterConfig, i, ConfigFile, advice)
			}
		}
		want = want.PrunedAs(kept)
	}
	if difference := want.Difference(kept); difference != "" {
		return fmt.Errorf("%s and %s describe different blocks (%s); %s", ConfigFile, model.AdapterConfig, difference, advice)
	}
	return nil
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
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("model.path: there is nothing at %s; put the model there, or correct the path in the configuration", path)
	}
	base, err := model.LoadBase(path, r.Config.Model.Ignore...)
	if err != nil {
		return nil, err
	}
	base.Hold(r.Config.Model.DType)
	if r.Tokenizer, r.Template, err = OpenText(&r.Config); err != nil {
		return nil, err
	}
	w, err := r.Tokenizer.Limit(base.Embed.Out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if w != "" {
		base.Warnings = append(base.Warnings, w)
	}
	return base, nil
}

// OpenText opens the tokenizer of a configuration's model and its chat template (nil if it
// has none), with the options that the configuration gives it. Options that the template
// does not use are an error. The configuration's data get the prompts that the base was
// trained with ([data.BaseFile]).
func OpenText(c *config.Config) (*tokenizer.Tokenizer, *tokenizer.Template, error) {
	path := c.Model.Path
	tk, err := tokenizer.Load(path)
	if err != nil {
		return nil, nil, err
	}
	prompts, err := data.ReadBasePrompts(path)
	if err != nil {
		return nil, nil, err
	}
	c.Data.Base, c.Eval.Base = prompts, prompts
	options, err := c.Data.TemplateOptions.Fields()
	if err != nil {
		return nil, nil, err
	}
	template, err := tokenizer.LoadTemplate(path)
	switch {
	case errors.Is(err, tokenizer.ErrNoTemplate) && len(options) == 0:
		return tk, nil, nil
	case err != nil:
		return nil, nil, err
	}
	for _, o := range options {
		if !strings.Contains(template.Source(), o.Name) {
			return nil, nil, fmt.Errorf("data.template_options.%s: the chat template of %s does not use it", o.Name, path)
		}
	}
	return tk, template.With(options), nil
}

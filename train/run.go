// Package train runs the training stages of a configuration and keeps what
// they produce in a run folder.
package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	// Latest is the link beside the runs that points to the newest trained one.
	Latest = "latest"
)

// Run is a trained run, opened.
type Run struct {
	Dir       string
	Config    config.Config
	Model     *model.Model
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.Template // nil if the base has none
}

// OpenRun opens a run folder: its configuration, the base it names, and the
// adapter trained for it.
func OpenRun(dir string) (*Run, error) {
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

// newRunDir makes the folder of a new run: OUTPUT/NAME, or OUTPUT/NAME-2, … if
// there is one already. No run is ever overwritten.
func newRunDir(c *config.Config) (string, error) {
	if err := os.MkdirAll(c.Output, 0o755); err != nil {
		return "", err
	}
	for i := 1; ; i++ {
		dir := runDir(c, i)
		err := os.Mkdir(dir, 0o755)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
	}
}

func runDir(c *config.Config, i int) string {
	if i == 1 {
		return filepath.Join(c.Output, c.Name)
	}
	return filepath.Join(c.Output, fmt.Sprintf("%s-%d", c.Name, i))
}

// resumeDir finds the newest run of a configuration, which must have been
// stopped: it has a checkpoint.
func resumeDir(c *config.Config) (string, error) {
	dir := ""
	for i := 1; ; i++ {
		if _, err := os.Stat(runDir(c, i)); err != nil {
			break
		}
		dir = runDir(c, i)
	}
	if dir == "" {
		return "", fmt.Errorf("there is no run %s to resume; leave --resume out to start one", runDir(c, 1))
	}
	if _, err := os.Stat(filepath.Join(dir, CheckpointFile)); err != nil {
		return "", fmt.Errorf("%s has no checkpoint to resume from (it was finished, or stopped before its first step); leave --resume out to start a new run", dir)
	}
	return dir, sameConfig(c, filepath.Join(dir, ConfigFile))
}

// sameConfig fails if the run was started with another configuration: what
// would come out were neither.
func sameConfig(c *config.Config, path string) error {
	was, err := config.Load(path)
	if err != nil {
		return err
	}
	now, then := fmt.Sprintf("%+v", *c), fmt.Sprintf("%+v", *was)
	if now == then {
		return nil
	}
	a, b := strings.Fields(now), strings.Fields(then)
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Errorf("%s: the run was started with another configuration (%s there, %s now); resume with the same one, or start a new run without --resume", path, b[i], a[i])
		}
	}
	return fmt.Errorf("%s: the run was started with another configuration; resume with the same one, or start a new run without --resume", path)
}

// pointLatest makes OUTPUT/latest a link to the run.
func pointLatest(dir string) error {
	link := filepath.Join(filepath.Dir(dir), Latest)
	if info, err := os.Lstat(link); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("%s is not a link; move it away, it is where eisft points to the newest run", link)
	}
	temp := fmt.Sprintf("%s.%d", link, os.Getpid())
	if err := os.Symlink(filepath.Base(dir), temp); err != nil {
		return err
	}
	return os.Rename(temp, link)
}

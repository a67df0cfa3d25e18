package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"eisft/train/config"
	"eisft/train/runs"
)

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

// resumeDir finds the newest stopped run of a configuration: one that has a checkpoint.
func resumeDir(c *config.Config) (string, error) {
	newest, stopped := "", ""
	for i := 1; ; i++ {
		dir := runDir(c, i)
		if _, err := os.Stat(dir); err != nil {
			break
		}
		newest = dir
		if _, err := os.Stat(filepath.Join(dir, runs.CheckpointFile)); err == nil {
			stopped = dir
		}
	}
	switch {
	case newest == "":
		return "", fmt.Errorf("there is no run %s to resume; leave --resume out to start one", runDir(c, 1))
	case stopped == "":
		return "", fmt.Errorf("%s has no checkpoint to resume from (it was finished, or stopped before its first step); leave --resume out to start a new run", newest)
	}
	return stopped, sameConfig(c, filepath.Join(stopped, runs.ConfigFile))
}

// sameConfig fails if the run was started with another configuration: what
// would come out were neither.
func sameConfig(c *config.Config, path string) error {
	was, err := config.Load(path)
	if err != nil {
		return err
	}
	then, err := tree(was)
	if err != nil {
		return err
	}
	now, err := tree(c)
	if err != nil {
		return err
	}
	var d differences
	if cmp.Equal(then, now, cmp.Reporter(&d)) {
		return nil
	}
	return fmt.Errorf("%s: the run was started with another configuration: %s; resume with the same one, or start a new run without --resume", path, strings.Join(d.found, ", "))
}

// tree returns a configuration as maps and lists with the keys of its file.
func tree(c *config.Config) (root map[string]any, err error) {
	text, err := yaml.Marshal(c)
	if err == nil {
		err = yaml.Unmarshal(text, &root)
	}
	return root, err
}

// differences is a [cmp.Reporter] that names each value that differs by its key path.
type differences struct {
	path  cmp.Path
	found []string
}

// PushStep goes down one step in both trees.
func (d *differences) PushStep(s cmp.PathStep) { d.path = append(d.path, s) }

// PopStep goes back up.
func (d *differences) PopStep() { d.path = d.path[:len(d.path)-1] }

// Report notes what stands at the path, if it differs.
func (d *differences) Report(r cmp.Result) {
	if r.Equal() {
		return
	}
	keys := ""
	for _, step := range d.path {
		switch step := step.(type) {
		case cmp.MapIndex:
			keys += "." + step.Key().String()
		case cmp.SliceIndex:
			then, now := step.SplitKeys()
			keys += fmt.Sprintf("[%d]", max(then, now)) // one is -1 where an item was added or left out
		}
	}
	then, now := d.path.Last().Values()
	d.found = append(d.found, fmt.Sprintf("%s was %s and is %s", strings.TrimPrefix(keys, "."), asJSON(then), asJSON(now)))
}

// asJSON writes a value of a tree, and the zero Value as a key that is not there.
func asJSON(v reflect.Value) string {
	if !v.IsValid() {
		return "not set"
	}
	text, err := json.Marshal(v.Interface())
	if err != nil { // .inf and .nan
		return fmt.Sprint(v)
	}
	return string(text)
}

// pointLatest makes OUTPUT/latest a link to the run.
func pointLatest(dir string) error {
	link := filepath.Join(filepath.Dir(dir), runs.Latest)
	if info, err := os.Lstat(link); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("%s is not a link; move it away, it is where eisft points to the newest run", link)
	}
	temp := fmt.Sprintf("%s.%d", link, os.Getpid())
	if err := os.Symlink(filepath.Base(dir), temp); err != nil {
		return err
	}
	return os.Rename(temp, link)
}

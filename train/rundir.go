package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"eisft/internal/atomicfile"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// checkOutput finds out before the work whether a new run's folder can be made, and returns
// its name.
func checkOutput(c *config.Config) (string, error) {
	link := filepath.Join(c.Output, runs.Latest)
	if info, err := os.Lstat(link); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return "", fmt.Errorf("%s is not a link; move it away, it is where eisft points to the newest run", link)
	}
	for i := 1; ; i++ {
		dir := runDir(c, i)
		if _, err := os.Lstat(dir); err != nil {
			return dir, atomicfile.CheckDir(dir)
		}
	}
}

// newRunDir makes the folder of a new run: OUTPUT/NAME, or OUTPUT/NAME-2, … if
// there is one already. No run is ever overwritten.
func newRunDir(c *config.Config) (_ string, _ *atomicfile.Lock, err error) {
	if err := os.MkdirAll(c.Output, 0o755); err != nil {
		return "", nil, err
	}
	for i := 1; ; i++ {
		dir := runDir(c, i)
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		lock, err := lockRun(dir)
		return dir, lock, err
	}
}

// runDir is the folder of the i-th run of a name, from 1.
func runDir(c *config.Config, i int) string {
	if i == 1 {
		return filepath.Join(c.Output, c.Name)
	}
	return filepath.Join(c.Output, fmt.Sprintf("%s-%d", c.Name, i))
}

// lockRun keeps other processes from training in a run's folder.
func lockRun(dir string) (*atomicfile.Lock, error) {
	lock, err := atomicfile.TakeLock(filepath.Join(dir, runs.LockFile))
	if errors.As(err, new(*atomicfile.LockedError)) {
		return nil, isTrained(dir, err)
	}
	return lock, err
}

func isTrained(dir string, by error) error {
	return fmt.Errorf("%s is being trained: %w; wait until it has ended, or end it", dir, by)
}

// resumeDir finds the run of a configuration that was stopped last: of those that have a
// checkpoint the one with the newest.
func resumeDir(c *config.Config) (string, error) {
	found, err := runDirs(c)
	if err != nil {
		return "", err
	}
	newest, stopped := latestOf(found, ""), latestOf(found, runs.CheckpointFile)
	switch {
	case newest == "":
		return "", fmt.Errorf("there is no run %s to resume; leave --resume out to start one", runDir(c, 1))
	case stopped == "":
		if held := atomicfile.Holder(filepath.Join(newest, runs.LockFile)); held != nil {
			return "", isTrained(newest, held)
		}
		return "", noCheckpoint(newest)
	}
	return stopped, nil
}

// noCheckpoint says why the run in a folder cannot be resumed, and what can be done.
func noCheckpoint(dir string) error {
	has := func(file string) bool {
		_, err := os.Stat(filepath.Join(dir, file))
		return err == nil
	}
	switch {
	case has(runs.FinishedFile):
		return fmt.Errorf("%s has no checkpoint to resume from: it was finished; go on beyond its end with --extend, or leave --resume out to start a new run", dir)
	case has(model.AdapterWeights):
		return fmt.Errorf("%s has no checkpoint to resume from: it was finished by an earlier version, which kept none; --adapter %[1]s starts a new run from its adapter", dir)
	}
	return fmt.Errorf("%s has no checkpoint to resume from: it was ended before its first one was written (checkpoint.every says after how many steps that is); nothing of it can be gone on with: leave --resume out to start a new run, and remove the folder", dir)
}

// lockStill locks the folder of a run that is gone on with, which had a file a moment ago.
func lockStill(dir, file string) (*atomicfile.Lock, error) {
	lock, err := lockRun(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, file)); err != nil { // whoever had the lock has gone on with it
		lock.Release()
		return nil, fmt.Errorf("%s was finished or gone on with by another process just now", dir)
	}
	return lock, nil
}

// runDirs lists the folders of runs of a configuration's name: NAME and NAME-2, …, except
// those of a configuration that is itself called so.
func runDirs(c *config.Config) ([]string, error) {
	entries, err := os.ReadDir(c.Output)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), c.Name)
		if n, err := strconv.Atoi(strings.TrimPrefix(rest, "-")); !ok || rest != "" && (err != nil || rest != fmt.Sprintf("-%d", n) || n < 2) {
			continue
		}
		dir := filepath.Join(c.Output, e.Name())
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		if was, err := config.Load(filepath.Join(dir, runs.ConfigFile)); err == nil && was.Name != c.Name {
			continue
		}
		found = append(found, dir)
	}
	return found, nil
}

// latestOf returns the folder whose file (or which itself, without a name) was written
// last, "" if none has one.
func latestOf(dirs []string, file string) (latest string) {
	var written time.Time
	for _, dir := range dirs {
		if info, err := os.Stat(filepath.Join(dir, file)); err == nil && (latest == "" || !info.ModTime().Before(written)) {
			latest, written = dir, info.ModTime()
		}
	}
	return latest
}

// beside are the sections and keys of a configuration that change nothing of what is trained.
var beside = []string{"eval", "checkpoint", "tensorboard", "model.cache", "model.cache_bytes"}

// elsewhere is a difference in where files lie whose content a checkpoint has the hash of: a run, its base or
// its data may have been moved.
var elsewhere = regexp.MustCompile(`^(model\.path|(data\.train|validation\.data)(\[\d+\](\.path)?)?) was "[^"]*" and is "[^"]*"$`)

// sameConfig fails if the run was started with another configuration, which stands at path: what
// would come out were neither. What differs in sections beside training it returns.
func sameConfig(was, c *config.Config, path string) (changed string, err error) {
	d, err := difference(was, c)
	if err != nil {
		return "", err
	}
	if of := slices.DeleteFunc(slices.Clone(d), isBeside); len(of) > 0 {
		return "", fmt.Errorf("%s: the run was started with another configuration: %s; resume with the same one, or start a new run without --resume", path, strings.Join(of, ", "))
	}
	return strings.Join(d, ", "), nil
}

// isBeside says of a difference whether it changes nothing of what is trained.
func isBeside(difference string) bool {
	key, _, _ := strings.Cut(difference, " ")
	section, _, _ := strings.Cut(key, ".")
	return elsewhere.MatchString(difference) || slices.Contains(beside, section) || slices.Contains(beside, strings.TrimSuffix(key, ":"))
}

// difference lists what differs between two configurations, key by key.
func difference(was, is *config.Config) ([]string, error) {
	then, err := was.Tree()
	if err != nil {
		return nil, err
	}
	now, err := is.Tree()
	if err != nil {
		return nil, err
	}
	var d differences
	cmp.Equal(then, now, cmp.Reporter(&d))
	return d.found, nil
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

// pointLatest makes OUTPUT/latest a link to the run, which has ended well.
func pointLatest(dir string) error {
	return atomicfile.Symlink(filepath.Base(dir), filepath.Join(filepath.Dir(dir), runs.Latest))
}

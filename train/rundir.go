package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	if _, err := os.Stat(filepath.Join(dir, runs.CheckpointFile)); err != nil {
		return "", fmt.Errorf("%s has no checkpoint to resume from (it was finished, or stopped before its first step); leave --resume out to start a new run", dir)
	}
	return dir, sameConfig(c, filepath.Join(dir, runs.ConfigFile))
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

package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Dir is a folder under construction. Commit publishes it under its final name,
// in place of a folder that is there; Abort before that removes what was written.
type Dir struct {
	path string // the final name
	tmp  string // "" once committed or aborted
}

// CreateDir starts a folder that will replace path on Commit. The parent must
// exist, and path must be a folder or nothing.
func CreateDir(path string) (*Dir, error) {
	if info, err := os.Lstat(path); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("write %s: it is there and is not a folder", path)
	}
	for try := 0; ; try++ {
		name := temporary(path, try)
		err := os.Mkdir(name, 0o777)
		if os.IsExist(err) && try < 100 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		return &Dir{path: path, tmp: name}, nil
	}
}

// Path returns the folder's temporary name, to write into.
func (d *Dir) Path() string { return d.tmp }

// Commit gives the folder its final name; the folder that had it is removed
// only then. On an error nothing is left behind and the old folder is untouched.
// (A crash between the two renames leaves the old one under a hidden name.)
func (d *Dir) Commit() error {
	if d.tmp == "" {
		return fmt.Errorf("commit %s: %w", d.path, os.ErrClosed)
	}
	defer d.Abort()
	old := d.tmp + ".old"
	err := os.Rename(d.path, old)
	replaces := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("commit %s: %w", d.path, err)
	}
	if err := os.Rename(d.tmp, d.path); err != nil {
		if replaces {
			err = errors.Join(err, os.Rename(old, d.path))
		}
		return fmt.Errorf("commit %s: %w", d.path, err)
	}
	d.tmp = ""
	syncDir(filepath.Dir(d.path))
	return os.RemoveAll(old)
}

// Abort removes what was written. After Commit it does nothing, so that it can be deferred.
func (d *Dir) Abort() {
	if d.tmp == "" {
		return
	}
	_ = os.RemoveAll(d.tmp)
	d.tmp = ""
}

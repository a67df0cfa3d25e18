// Package relpath names files in other files, so that they are found again.
package relpath

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// From returns the path by which a file in the folder dir names target: relative to the
// folder, so that both can be moved together, and absolute where a link in dir's own path
// would lead a relative one astray.
func From(dir, target string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if target, err = filepath.Abs(target); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(dir, target)
	if err != nil { // on another volume
		return target, nil
	}
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return rel, nil
	}
	if err != nil {
		return "", err
	}
	if real == dir || SameFile(filepath.Join(real, rel), target) {
		return rel, nil
	}
	return target, nil
}

// SameFile tells whether two paths name one file. Where there is none it compares the text.
func SameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	if errA != nil || errB != nil {
		return errA != nil && errB != nil && a == b
	}
	return os.SameFile(x, y)
}

// Of returns the path of what a file in the folder dir names by path.
func Of(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

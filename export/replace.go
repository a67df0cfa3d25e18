package export

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"eisft/export/manifest"
)

// replaceable tells why what lies at out may not make room for an export: it is not an
// export, or holds more than one, or the run, the base or the working directory lie in it.
func (o Options) replaceable(out string) error {
	real, err := filepath.EvalSymlinks(out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s cannot be replaced: %w", out, err)
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return err // the writer says that a file is no folder
	}
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	for _, kept := range []struct{ what, path string }{
		{"the run", o.RunDir}, {"the base model", o.BaseDir}, {"the working directory", wd},
	} {
		if kept.path != "" && inside(real, kept.path) {
			return fmt.Errorf("%s cannot be replaced: %s (%s) lies in it; name another folder", out, kept.what, kept.path)
		}
	}
	return owned(out)
}

// inside tells whether a path is the folder, whose links are followed, or lies in it.
func inside(folder, path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false // it is not there
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return false
	}
	if real, err = filepath.Abs(real); err != nil {
		return false
	}
	rel, err := filepath.Rel(folder, real)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// owned tells why a folder may not be removed: it is neither empty nor an export with
// nothing beside what its manifest lists.
func owned(dir string) error {
	stray, err := manifest.Stray(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s cannot be replaced: it has no %s, so eisft export did not write it; name another folder", dir, manifest.Name)
	case err != nil:
		return fmt.Errorf("%s cannot be replaced: %w; name another folder", dir, err)
	case stray != "":
		return fmt.Errorf("%s cannot be replaced: %s in it was not written by eisft export; move it away, or name another folder", dir, stray)
	}
	return nil
}

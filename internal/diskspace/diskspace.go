// Package diskspace says how much may still be written.
package diskspace

import (
	"os"
	"path/filepath"
)

// Free returns how many bytes the user may still write where a path lies, or will lie: what is
// asked is the nearest of its folders that exists. ok is false where the system does not tell.
func Free(path string) (bytes int64, ok bool) {
	path, err := filepath.Abs(path)
	if err != nil {
		return 0, false
	}
	for {
		if _, err := os.Stat(path); err == nil || filepath.Dir(path) == path {
			return free(path)
		}
		path = filepath.Dir(path)
	}
}

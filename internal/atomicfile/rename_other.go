//go:build !linux && !darwin

package atomicfile

import (
	"errors"
	"os"
	"runtime"
)

// renameNew renames a folder to a name that nothing has. Windows refuses to rename onto a
// folder that is there. Other systems have no call for it.
var renameNew = func(from, to string) error {
	if runtime.GOOS == "windows" {
		return os.Rename(from, to)
	}
	return errors.ErrUnsupported
}

// exchange would let two folders change their names in one step.
var exchange = func(_, _ string) error { return errors.ErrUnsupported }

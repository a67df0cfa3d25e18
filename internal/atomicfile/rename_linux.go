package atomicfile

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// renameNew renames a folder to a name that nothing has. Its error is an
// [errors.ErrUnsupported] where the file system cannot make sure of that.
var renameNew = func(from, to string) error { return renameAt2(from, to, unix.RENAME_NOREPLACE) }

// exchange lets two folders change their names. Its error is an [errors.ErrUnsupported]
// where the file system cannot do that in one step.
var exchange = func(a, b string) error { return renameAt2(a, b, unix.RENAME_EXCHANGE) }

func renameAt2(from, to string, flags uint) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("renameat2: %w (%w)", err, errors.ErrUnsupported)
	}
	return err
}

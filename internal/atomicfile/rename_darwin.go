package atomicfile

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// renameNew renames a folder to a name that nothing has. Its error is an
// [errors.ErrUnsupported] where the file system cannot make sure of that.
var renameNew = func(from, to string) error { return renameX(from, to, unix.RENAME_EXCL) }

// exchange lets two folders change their names. Its error is an [errors.ErrUnsupported]
// where the file system cannot do that in one step.
var exchange = func(a, b string) error { return renameX(a, b, unix.RENAME_SWAP) }

func renameX(from, to string, flags uint32) error {
	err := unix.RenamexNp(from, to, flags)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("renamex_np: %w (%w)", err, errors.ErrUnsupported)
	}
	return err
}

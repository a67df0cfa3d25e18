//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly

package atomicfile

import (
	"errors"
	"os"
)

// tryLock locks nothing here: what a killed process leaves behind is not removed, and two
// processes that write the same are not told apart.
func tryLock(*os.File) lockState { return lockUnknown }

// processAlive is not found out here.
func processAlive(int) bool { return false }

// writable tells why something cannot be written, which only trying shows here.
func writable(string) error { return nil }

// renameOntoEmpty renames a folder in the place of an empty one.
func renameOntoEmpty(from, to string) error {
	if err := os.Remove(to); err != nil { // fails if it is not empty
		return err
	}
	return os.Rename(from, to)
}

func duplicate(int, string) (*os.File, error) { return nil, errors.ErrUnsupported }

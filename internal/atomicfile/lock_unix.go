//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package atomicfile

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tryLock locks an open file or folder for as long as it is open. The lock ends with the
// process, however that ends, and holds across PID namespaces.
func tryLock(f *os.File) lockState {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return lockTaken
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return lockBusy
		default: // NFS does not lock folders, some file systems lock nothing
			return lockUnknown
		}
	}
}

// processAlive says whether a process of this host runs.
func processAlive(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

// writable tells why entries of a folder, or a device, cannot be written.
func writable(path string) error {
	err := unix.Access(path, unix.W_OK)
	if err != nil {
		return &os.PathError{Op: "access", Path: filepath.Clean(path), Err: err}
	}
	return nil
}

// renameOntoEmpty renames a folder onto an empty one, which os.Rename refuses.
func renameOntoEmpty(from, to string) error { return unix.Rename(from, to) }

// duplicate opens an open file under a second number.
func duplicate(fd int, name string) (*os.File, error) {
	second, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(second), name), nil
}

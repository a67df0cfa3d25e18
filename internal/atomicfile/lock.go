package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// lockState is what came of trying to lock a file.
type lockState int

const (
	lockTaken   lockState = iota // by us
	lockBusy                     // someone else has it
	lockUnknown                  // the file system has no locks
)

// hold is tryLock on a file that path must still name: in between, someone may have
// removed it, or have renamed it.
func hold(f *os.File, path string) lockState {
	state := tryLock(f)
	if state == lockBusy {
		return state
	}
	opened, err := f.Stat()
	if err != nil {
		return lockBusy
	}
	if named, err := os.Lstat(path); err != nil || !os.SameFile(opened, named) {
		return lockBusy
	}
	return state
}

// Lock is a lock file that is held by this process.
type Lock struct {
	path string
	file *os.File
}

// LockedError says which process holds a lock.
type LockedError struct{ PID int } // 0 if it is not known

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return "another process is at work there"
	}
	return fmt.Sprintf("process %d is at work there", e.PID)
}

// TakeLock creates the lock file path and holds it until Release or the end of the process,
// however that ends. If another process holds it, the error is a [LockedError]. On file
// systems and systems without locks it always succeeds.
func TakeLock(path string) (*Lock, error) {
	for range maxTries {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, cause(err))
		}
		switch tryLock(f) {
		case lockBusy:
			text, _ := io.ReadAll(io.LimitReader(f, 32))
			_ = f.Close()
			pid, _ := strconv.Atoi(strings.TrimSpace(string(text))) // 0 while it is being written
			return nil, &LockedError{PID: pid}
		case lockTaken:
			if hold(f, path) != lockTaken { // released by another process in between
				_ = f.Close()
				continue
			}
		}
		if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, cause(err))
		}
		return &Lock{path: path, file: f}, nil
	}
	return nil, &LockedError{}
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Release removes the lock file. On nil it does nothing.
func (l *Lock) Release() {
	if l == nil {
		return
	}
	_ = os.Remove(l.path) // while it is held
	_ = l.file.Close()
}

package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
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

// LockedError says which process holds a lock; what is not known is zero.
type LockedError struct {
	PID   int
	Host  string
	Since time.Time
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return "another process is at work there"
	}
	text := fmt.Sprintf("process %d", e.PID)
	if e.Host != "" {
		text += " on " + e.Host
	}
	text += " is at work there"
	if !e.Since.IsZero() {
		text += " since " + e.Since.Local().Format(time.DateTime)
	}
	return text
}

// holder reads what [sign] has written, or is writing.
func holder(r io.Reader) *LockedError {
	text, _ := io.ReadAll(io.LimitReader(r, 1024))
	e := &LockedError{}
	lines := strings.Split(string(text), "\n")
	e.PID, _ = strconv.Atoi(strings.TrimSpace(lines[0]))
	if len(lines) > 2 { // of earlier versions there is the number alone
		e.Host = lines[1]
		e.Since, _ = time.Parse(time.RFC3339, lines[2])
	}
	return e
}

// Holder returns who holds the lock file path, nil if nobody does.
func Holder(path string) *LockedError {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // and with it the lock, if it was free
	switch tryLock(f) {
	case lockBusy:
		return holder(f)
	case lockUnknown:
		if e := holder(f); e.alive() {
			return e
		}
	}
	return nil
}

// alive says whether the process is at work on this host, as far as that can be seen.
func (e *LockedError) alive() bool {
	host, err := os.Hostname()
	return e.PID > 0 && e.PID != os.Getpid() && err == nil && e.Host == host && processAlive(e.PID)
}

// TakeLock creates the lock file path and holds it until Release or the end of the process,
// however that ends. If another process holds it, the error is a [LockedError]. On file
// systems and systems without locks, processes of the same host alone are told apart.
func TakeLock(path string) (*Lock, error) {
	for range maxTries {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, cause(err))
		}
		switch tryLock(f) {
		case lockBusy:
			e := holder(f)
			_ = f.Close()
			return nil, e
		case lockUnknown:
			if e := holder(f); e.alive() {
				_ = f.Close()
				return nil, e
			}
		case lockTaken:
			if hold(f, path) != lockTaken { // released by another process in between
				_ = f.Close()
				continue
			}
		}
		if err := errors.Join(f.Truncate(0), sign(f)); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, cause(err))
		}
		return &Lock{path: path, file: f}, nil
	}
	return nil, &LockedError{}
}

// sign writes who holds the lock: number of the process, host, and since when.
func sign(f *os.File) error {
	host, _ := os.Hostname()
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n%s\n%s\n", os.Getpid(), host, time.Now().Format(time.RFC3339)), 0)
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

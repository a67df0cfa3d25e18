// Package atomicfile writes files that are either complete or absent: the bytes
// go to a temporary file in the target's directory, are synced to disk and only
// then renamed onto the target. A crash or an error leaves the old file as it was.
// Whole folders are written likewise.
package atomicfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// File is a file under construction. Commit publishes it under its final name;
// Abort before that removes what was written.
type File struct {
	path string   // the final name
	tmp  *os.File // nil once committed or aborted
	err  error    // the first failed write
}

// Create starts a file that will replace path on Commit. The directory must exist.
// The new file gets mode 0666 less the umask.
func Create(path string) (*File, error) {
	for try := 0; ; try++ {
		tmp, err := os.OpenFile(temporary(path, try), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if os.IsExist(err) && try < 100 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		return &File{path: path, tmp: tmp}, nil
	}
}

// temporary returns a hidden name beside path, another one at each try.
func temporary(path string, try int) string {
	suffix := strconv.FormatInt(time.Now().UnixNano()+int64(try), 36)
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+suffix+".tmp")
}

// Write appends p. After a failed write every later Write and Commit fails too.
func (f *File) Write(p []byte) (int, error) {
	if f.tmp == nil {
		return 0, fmt.Errorf("write %s: %w", f.path, os.ErrClosed)
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.tmp.Write(p)
	if err != nil {
		f.err = fmt.Errorf("write %s: %w", f.path, err)
	}
	return n, f.err
}

// Commit syncs the file and renames it onto its final name. On an error nothing
// is left behind and the old file, if there was one, is untouched.
func (f *File) Commit() error {
	if f.tmp == nil {
		return fmt.Errorf("commit %s: %w", f.path, os.ErrClosed)
	}
	defer f.Abort()
	if f.err != nil {
		return f.err
	}
	if err := f.tmp.Sync(); err != nil {
		return fmt.Errorf("commit %s: %w", f.path, err)
	}
	tmp := f.tmp
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("commit %s: %w", f.path, err)
	}
	if err := os.Rename(tmp.Name(), f.path); err != nil {
		return fmt.Errorf("commit %s: %w", f.path, err)
	}
	f.tmp = nil
	syncDir(filepath.Dir(f.path))
	return nil
}

// Abort removes what was written. After Commit it does nothing, so that it can be deferred.
func (f *File) Abort() {
	if f.tmp == nil {
		return
	}
	_ = f.tmp.Close() // closed already if Commit failed after closing
	_ = os.Remove(f.tmp.Name())
	f.tmp = nil
}

// WriteFile writes b to path in one atomic step.
func WriteFile(path string, b []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Commit()
}

// syncDir makes the rename itself durable. Not every system can sync a directory;
// there the rename is still atomic, so a failure is no error.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

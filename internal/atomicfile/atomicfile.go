// Package atomicfile writes files that are either complete or absent: the bytes
// go to a temporary file in the target's directory, are synced to disk and only
// then renamed onto the target. A crash or an error leaves the old file as it was.
// Whole folders are written likewise.
//
// Temporary names are hidden, and their files and folders are locked while they are
// written, so that what a killed process left behind can be told from what is being
// written, in whatever process or container ([Leftovers]). It is removed by whoever
// writes into the same folder next.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// File is a file under construction. Commit publishes it under its final name;
// Abort before that removes what was written.
type File struct {
	path string   // as the caller names it
	at   target   // what is written
	out  *os.File // nil once committed or aborted
	err  error    // the first failed write
}

// Create starts a file that will replace path on Commit. The directory must exist. A link
// is followed: what it points to is replaced. The new file has the mode of the one that
// it replaces, or 0666 less the umask. What is no regular file (a device, a pipe,
// /dev/stdout) cannot be replaced: it is opened, and gets what is written at once.
func Create(path string) (*File, error) {
	at, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	f := &File{path: path, at: at}
	if at.direct() {
		f.out, err = at.open()
	} else {
		f.out, err = createTemporary(at.path)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, cause(err))
	}
	if at.info != nil && !at.direct() {
		if err := f.out.Chmod(at.info.Mode().Perm()); err != nil {
			f.Abort()
			return nil, fmt.Errorf("write %s: %w", path, cause(err))
		}
	}
	return f, nil
}

// createTemporary makes a locked temporary file beside path.
func createTemporary(path string) (*os.File, error) {
	sweep(filepath.Dir(path))
	for try := 0; ; try++ {
		f, err := os.OpenFile(temporary(path, try), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil && hold(f, f.Name()) != lockBusy {
			return f, nil
		}
		if err == nil {
			_ = f.Close() // a sweep has it
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if try == maxTries {
			return nil, fmt.Errorf("no temporary name is free: %w", fs.ErrExist)
		}
	}
}

// maxTries bounds how many temporary names are tried.
const maxTries = 100

// Write appends p. After a failed write every later Write and Commit fails too.
func (f *File) Write(p []byte) (int, error) {
	if f.out == nil {
		return 0, fmt.Errorf("write %s: %w", f.path, os.ErrClosed)
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.out.Write(p)
	if err != nil {
		f.err = fmt.Errorf("write %s: %w", f.path, cause(err))
	}
	return n, f.err
}

// Commit syncs the file and renames it onto its final name. On an error nothing
// is left behind and the old file, if there was one, is untouched.
func (f *File) Commit() error {
	if f.out == nil {
		return fmt.Errorf("write %s: %w", f.path, os.ErrClosed)
	}
	defer f.Abort()
	if f.err != nil {
		return f.err
	}
	if err := f.publish(); err != nil {
		return fmt.Errorf("write %s: %w", f.path, cause(err))
	}
	return nil
}

// publish ends a file whose writes went well.
func (f *File) publish() error {
	out := f.out
	if f.at.direct() {
		f.out = nil
		return out.Close()
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // where an open file cannot be renamed, and none is locked
		if err := out.Close(); err != nil {
			return err
		}
	}
	killPoint("rename")
	if err := os.Rename(out.Name(), f.at.path); err != nil {
		return err
	}
	f.out = nil
	_ = out.Close() // synced
	syncDir(filepath.Dir(f.at.path))
	return nil
}

// Abort removes what was written. After Commit it does nothing, so that it can be deferred.
func (f *File) Abort() {
	if f.out == nil {
		return
	}
	if !f.at.direct() && runtime.GOOS != "windows" {
		_ = os.Remove(f.out.Name()) // while it is locked
	}
	_ = f.out.Close()
	if !f.at.direct() && runtime.GOOS == "windows" {
		_ = os.Remove(f.out.Name())
	}
	f.out = nil
}

// WriteFile writes b to path in one atomic step, as Create and Commit do.
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

// probeBytes is how much a test write takes: a full disk has no room for a block.
const probeBytes = 4096

// Check finds out before some work whether its result can be written to path: by a test
// write beside it, which is removed again. It does not know whether there is room for
// all of it.
func Check(path string) error {
	at, err := resolve(path)
	if err == nil && at.direct() { // a test write would be seen, and to open a pipe may wait for its reader
		if at.descriptor < 0 {
			err = writable(at.path)
		}
		if err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := testWrite(f.out); err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	return nil
}

// testWrite finds out whether there is room for a block.
func testWrite(f *os.File) error {
	if _, err := f.Write(make([]byte, probeBytes)); err != nil {
		return err
	}
	return f.Sync()
}

// Symlink makes path a link to target, in place of a link that is there.
func Symlink(target, path string) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("write %s: it is there and is not a link", path)
	}
	sweep(filepath.Dir(path))
	for try := 0; ; try++ {
		name := temporary(path, try)
		err := os.Symlink(target, name)
		if errors.Is(err, fs.ErrExist) && try < maxTries {
			continue
		}
		if err == nil {
			killPoint("rename link")
			err = os.Rename(name, path)
		}
		if err != nil {
			_ = os.Remove(name)
			return fmt.Errorf("write %s: %w", path, cause(err))
		}
		return nil
	}
}

// cause is an error of package os without the path, which names a temporary file.
func cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// syncDir makes the rename itself durable. Not every system can sync a directory;
// there the rename is still atomic, so a failure is no error.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// killPoint is called where a test ends the process.
var killPoint = func(string) {}

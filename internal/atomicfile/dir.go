package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Dir is a folder under construction. Commit or Replace publishes it under its final
// name; Abort before that removes what was written.
type Dir struct {
	path string   // as the caller names it
	at   string   // the same with links followed
	tmp  string   // "" once published or aborted
	lock *os.File // the folder itself, locked
}

// errBusy says that the folder is being written by someone else.
var errBusy = errors.New("another process is writing it now; wait until that has ended, or name another folder")

// CreateDir starts a folder. Its parent must exist, and path must be a folder, a link to
// one, or nothing. It fails if another process is writing the same folder.
func CreateDir(path string) (*Dir, error) {
	at, err := folder(path)
	if err != nil {
		return nil, err
	}
	parent, base := filepath.Split(at)
	for _, busy := range sweep(parent) {
		if busy == base {
			return nil, fmt.Errorf("write %s: %w", path, errBusy)
		}
	}
	for try := 0; ; try++ {
		name := temporary(at, try)
		err := os.Mkdir(name, 0o777)
		if err == nil {
			lock, err := os.Open(name)
			if err == nil && hold(lock, name) != lockBusy {
				return &Dir{path: path, at: at, tmp: name, lock: lock}, nil
			}
			if err == nil {
				_ = lock.Close() // a sweep has it
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("write %s: %w", path, cause(err))
		}
		if try == maxTries {
			return nil, fmt.Errorf("write %s: no temporary name is free", path)
		}
	}
}

// folder follows the links of a folder's path.
func folder(path string) (string, error) {
	at, err := follow(filepath.Clean(path))
	if err == nil && at.info != nil && !at.info.IsDir() || at.descriptor >= 0 && err == nil {
		err = errors.New("it is there and is not a folder")
	}
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return filepath.Abs(at.path)
}

// Path returns the folder's temporary name, to write into.
func (d *Dir) Path() string { return d.tmp }

// Commit gives the folder its final name. If something has that name by now, it stays as
// it is, and the error is an [fs.ErrExist]. On an error nothing is left behind.
func (d *Dir) Commit() error {
	if d.tmp == "" {
		return fmt.Errorf("write %s: %w", d.path, os.ErrClosed)
	}
	defer d.Abort()
	killPoint("create folder")
	if err := create(d.tmp, d.at); err != nil {
		return fmt.Errorf("write %s: %w", d.path, cause(err))
	}
	d.published()
	return nil
}

// Replace is Commit in place of a folder that is there. owned is called with the folder
// to be removed; where it fails, that folder stays, and the new one is dropped. There is
// no moment at which nothing has the name, and a process that is killed leaves either
// folder under it, except on file systems that cannot exchange two names: there, one
// that is killed between two renames leaves the old folder under a hidden name, and
// whoever writes there next gives it its name back.
func (d *Dir) Replace(owned func(dir string) error) error {
	if d.tmp == "" {
		return fmt.Errorf("write %s: %w", d.path, os.ErrClosed)
	}
	if _, err := os.Lstat(d.at); errors.Is(err, fs.ErrNotExist) {
		return d.Commit()
	}
	defer d.Abort()
	if err := owned(d.at); err != nil {
		return err
	}
	before, err := os.Open(d.at)
	if err != nil {
		return fmt.Errorf("write %s: %w", d.path, cause(err))
	}
	defer before.Close()
	_ = tryLock(before) // nobody sweeps it while it has a temporary name
	killPoint("exchange folders")
	old, err := d.exchange()
	if err != nil {
		return fmt.Errorf("write %s: %w", d.path, cause(err))
	}
	killPoint("remove folder")
	d.published()
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("%s is written, but what it replaced cannot be removed: %w", d.path, err)
	}
	return nil
}

// exchange puts the folder under its name, and returns the name that the folder has which
// had it before.
func (d *Dir) exchange() (old string, err error) {
	err = exchange(d.tmp, d.at)
	if !errors.Is(err, errors.ErrUnsupported) {
		return d.tmp, err
	}
	old = d.tmp + oldSuffix
	if err := os.Rename(d.at, old); err != nil {
		return "", err
	}
	killPoint("between renames")
	if err := create(d.tmp, d.at); err != nil {
		return "", errors.Join(err, create(old, d.at))
	}
	return old, nil
}

// create renames a folder to a name that nothing has.
func create(from, to string) error {
	err := renameNew(from, to)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	// An empty folder takes the name, if it is free; a rename onto a folder that is not
	// empty any more fails. A kill in between leaves the empty folder.
	if err := os.Mkdir(to, 0o777); err != nil {
		return err
	}
	return renameOntoEmpty(from, to)
}

// published notes that the folder has its name.
func (d *Dir) published() {
	d.tmp = ""
	_ = d.lock.Close()
	syncDir(filepath.Dir(d.at))
}

// Abort removes what was written. After Commit it does nothing, so that it can be deferred.
func (d *Dir) Abort() {
	if d.tmp == "" {
		return
	}
	_ = os.RemoveAll(d.tmp)
	_ = d.lock.Close()
	d.tmp = ""
}

// CheckDir finds out before some work whether a folder can be written at path: by a test
// write where it would lie, or in the nearest folder above it that exists.
func CheckDir(path string) error {
	at, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for dir := filepath.Dir(at); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			continue
		}
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a folder", dir)
		}
		if err == nil {
			err = probe(filepath.Join(dir, filepath.Base(at)))
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", path, cause(err))
		}
		break
	}
	if info, err := os.Stat(at); err == nil && info.IsDir() {
		if err := writable(at); err != nil { // or it could not be removed
			return fmt.Errorf("write %s: %w", path, cause(err))
		}
	}
	return nil
}

// probe writes a folder with a file beside path and removes them. It tries again where
// another process has swept the folder before it was locked.
func probe(path string) error {
	for try := 0; ; try++ {
		err := probeOnce(temporary(path, try))
		if !errors.Is(err, fs.ErrNotExist) || try == maxTries {
			return err
		}
	}
}

func probeOnce(name string) error {
	if err := os.Mkdir(name, 0o777); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(name) }()
	lock, err := os.Open(name)
	if err != nil {
		return err
	}
	defer lock.Close()
	if hold(lock, name) == lockBusy {
		return fs.ErrNotExist // a sweep has it
	}
	f, err := os.Create(filepath.Join(name, "test"))
	if err != nil {
		return err
	}
	defer f.Close()
	return testWrite(f)
}

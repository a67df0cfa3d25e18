package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// target is what a path names when all links are followed.
type target struct {
	path       string
	info       fs.FileInfo // nil: there is nothing yet
	descriptor int         // one that this process has open, -1: none
}

// direct tells whether the target cannot be replaced and gets what is written at once.
func (t target) direct() bool {
	return t.descriptor >= 0 || t.info != nil && !t.info.Mode().IsRegular()
}

// open opens what gets its bytes at once. A descriptor is duplicated: opened anew it
// would write over what stands at the beginning.
func (t target) open() (*os.File, error) {
	if t.descriptor >= 0 {
		return duplicate(t.descriptor, t.path)
	}
	return os.OpenFile(t.path, os.O_WRONLY, 0)
}

// noFolder says that a file's folder is missing.
type noFolder string

func (n noFolder) Error() string        { return "there is no folder " + string(n) }
func (n noFolder) Is(target error) bool { return target == fs.ErrNotExist }

// maxLinks is how many links are followed before they are taken for a circle.
const maxLinks = 40

// resolve finds what a file's path names. It fails for a folder.
func resolve(path string) (target, error) {
	at, err := follow(path)
	switch {
	case err != nil:
		return at, err
	case at.info == nil || at.descriptor >= 0:
		return at, nil
	case at.info.IsDir():
		return at, errors.New("it is a folder; name a file")
	case at.info.Mode()&fs.ModeSocket != 0:
		return at, errors.New("it is a socket; name a file")
	}
	return at, nil
}

// follow follows links, also one to what is not there yet. The last folder must exist.
func follow(path string) (target, error) {
	for range maxLinks {
		if fd := descriptorOf(path); fd >= 0 {
			return target{path: path, descriptor: fd}, nil
		}
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			dir := filepath.Dir(path)
			switch parent, err := os.Stat(dir); {
			case errors.Is(err, fs.ErrNotExist):
				return target{}, noFolder(dir)
			case err != nil:
				return target{}, cause(err)
			case !parent.IsDir():
				return target{}, fmt.Errorf("%s is not a folder", dir)
			}
			return target{path: path, descriptor: -1}, nil
		}
		if err != nil {
			return target{}, cause(err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return target{path: path, info: info, descriptor: -1}, nil
		}
		to, err := os.Readlink(path)
		if err != nil {
			return target{}, cause(err)
		}
		if !filepath.IsAbs(to) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return target{}, cause(err)
			}
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return target{}, errors.New("its links lead in a circle")
}

// descriptorOf returns the number of the open file that a path under /dev or /proc names,
// -1 for any other path.
func descriptorOf(path string) int {
	path = filepath.ToSlash(filepath.Clean(path))
	switch path {
	case "/dev/stdin":
		return 0
	case "/dev/stdout":
		return 1
	case "/dev/stderr":
		return 2
	}
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/", fmt.Sprintf("/proc/%d/fd/", os.Getpid())} {
		if name, ok := strings.CutPrefix(path, dir); ok {
			if fd, err := strconv.Atoi(name); err == nil {
				return fd
			}
		}
	}
	return -1
}

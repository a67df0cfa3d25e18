package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A temporary name is that of the target between a dot and a suffix: the time in
// nanoseconds to base 36, and tmpSuffix. oldSuffix follows where it is that of a folder
// which was moved aside.
const (
	tmpSuffix = ".tmp"
	oldSuffix = ".old"
)

// temporary returns a hidden name beside path, another one at each try.
func temporary(path string, try int) string {
	suffix := strconv.FormatInt(time.Now().UnixNano()+int64(try), 36)
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+suffix+tmpSuffix)
}

// leftover is what a temporary name says.
type leftover struct {
	target string    // the name that it was to get
	made   time.Time // when writing began
	aside  bool      // the target's old folder
}

// parse reads a temporary name. Names that people give do not look like one: the time
// must be one at which this program may have run.
func parse(name string) (l leftover, ok bool) {
	name, l.aside = strings.CutSuffix(name, oldSuffix)
	name, ok = strings.CutSuffix(name, tmpSuffix)
	dot := strings.LastIndexByte(name, '.')
	if !ok || dot < 2 || name[0] != '.' {
		return l, false
	}
	ns, err := strconv.ParseInt(name[dot+1:], 36, 64)
	l.target, l.made = name[1:dot], time.Unix(0, ns)
	first := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	return l, err == nil && l.made.After(first) && l.made.Before(time.Now().AddDate(1, 0, 0))
}

// Leftovers lists the names of temporary files and folders in dir that no process writes
// any more, and of lock files NAME.lock, hidden, whose process has ended without a Release.
func Leftovers(dir string) []string {
	var dead []string
	each(dir, func(path string, _ leftover) {
		dead = append(dead, filepath.Base(path))
	})
	return dead
}

// Sweep removes what killed processes have left in dir. Whoever writes there does so
// anyway; this is for folders beside.
func Sweep(dir string) { sweep(dir) }

// sweep removes what killed processes have left in dir, and returns the names of the
// targets that others are writing. What cannot be removed stays.
func sweep(dir string) (busy []string) {
	return each(dir, func(path string, l leftover) {
		if l.aside && create(path, filepath.Join(filepath.Dir(path), l.target)) == nil {
			return // killed between two renames: it has its name back
		}
		_ = os.RemoveAll(path)
	})
}

// linkAge is how old a temporary link must be to be taken for left behind: links cannot
// be locked, and live for microseconds.
const linkAge = time.Minute

// each calls do with every leftover of dir that no process writes any more, while it is
// locked, and returns the targets of the others.
func each(dir string, do func(path string, l leftover)) (busy []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		l, ok := parse(e.Name())
		if !ok && !isLock(path, e) {
			continue
		}
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			if time.Since(l.made) > linkAge {
				do(path, l)
			}
		case e.IsDir(), e.Type().IsRegular():
			if f, err := os.Open(path); err == nil {
				switch hold(f, path) {
				case lockTaken:
					do(path, l)
				case lockBusy:
					busy = append(busy, l.target)
				}
				_ = f.Close()
			}
		}
	}
	return busy
}

// lockSuffix ends the hidden names of lock files that are swept; others stay for whoever takes
// them next.
const lockSuffix = ".lock"

// isLock says whether a file of a folder is a lock that [TakeLock] has signed.
func isLock(path string, e fs.DirEntry) bool {
	name, ok := strings.CutSuffix(e.Name(), lockSuffix)
	if !ok || len(name) < 2 || name[0] != '.' || !e.Type().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	by := holder(f)
	return by.PID > 0 && !by.Since.IsZero()
}

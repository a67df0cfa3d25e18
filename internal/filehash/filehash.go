// Package filehash computes hashes of files and remembers them while the files stay as they
// are: by path, size, times of change, device and inode. What is remembered lies in the
// user's cache folder; without one, hashes are computed each time.
package filehash

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"eisft/internal/atomicfile"
)

// Sum returns the sha256 of a file's bytes in hexadecimal, which is remembered.
func Sum(path string) (string, error) {
	return Cached("sha256", []string{path}, func() (string, error) { return Compute(path) })
}

// Compute returns the sha256 of a file's bytes in hexadecimal.
func Compute(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// settled is how long ago a file must have been changed for its hash to be remembered: a
// change that follows sooner could leave the time as it is.
const settled = 2 * time.Second

// Cached returns what compute found for the files the last time, if they are as they were
// then, and else what it finds now. kind names what is computed, with its version.
func Cached(kind string, paths []string, compute func() (string, error)) (string, error) {
	name, ok := entry(kind, paths)
	if ok {
		if text, err := os.ReadFile(name); err == nil && len(text) > 0 {
			return string(text), nil
		}
	}
	found, err := compute()
	if err != nil || !ok {
		return found, err
	}
	if again, same := entry(kind, paths); !same || again != name {
		return found, nil // changed while it was read
	}
	if os.MkdirAll(filepath.Dir(name), 0o755) == nil {
		_ = atomicfile.WriteFile(name, []byte(found)) // what cannot be remembered is computed again
	}
	return found, nil
}

// entry names the file in which a result is remembered; it is not ok if there is no cache
// folder, or a file is missing or too fresh.
func entry(kind string, paths []string) (name string, ok bool) {
	dir, err := os.UserCacheDir()
	if err != nil || len(paths) == 0 {
		return "", false
	}
	h := sha256.New()
	fmt.Fprintln(h, kind)
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return "", false
		}
		info, err := os.Stat(abs)
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) < settled {
			return "", false
		}
		fmt.Fprintf(h, "%q %d %d %s\n", abs, info.Size(), info.ModTime().UnixNano(), node(info))
	}
	return filepath.Join(dir, "eisft", "hashes", hex.EncodeToString(h.Sum(nil)[:16])), true
}

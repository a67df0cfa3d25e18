//go:build unix

package hf

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"eisft/internal/mapped"
)

// mapFile maps a file read-only into memory; no page is read before it is used.
// The caller must call unmap once the bytes are no longer in use.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // the mapping outlives the descriptor
	return mapOpened(f)
}

// mapOpened is mapFile of an open file, which may have lost its name.
func mapOpened(f *os.File) (data []byte, unmap func() error, err error) {
	path := f.Name()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: found a %s, want a regular file", path, fileKind(info.Mode()))
	}
	if info.Size() == 0 { // mmap refuses an empty range
		return nil, func() error { return nil }, nil
	}
	if info.Size() > math.MaxInt {
		return nil, nil, fmt.Errorf("%s: found %d bytes, more than this system's address space holds", path, info.Size())
	}
	data, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %s into memory: %w", path, err)
	}
	forget := mapped.Add(path, data)
	return data, func() error {
		forget()
		return unix.Munmap(data)
	}, nil
}

func fileKind(m os.FileMode) string {
	if m.IsDir() {
		return "directory"
	}
	return "special file (" + m.Type().String() + ")"
}

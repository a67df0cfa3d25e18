//go:build !unix

package hf

import (
	"io"
	"math"
	"os"
)

// mapFile reads a whole file into memory, where the system has no mmap that
// golang.org/x/sys/unix knows.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	data, err = os.ReadFile(path)
	return data, func() error { return nil }, err
}

// mapOpened is mapFile of an open file, which may have lost its name.
func mapOpened(f *os.File) (data []byte, unmap func() error, err error) {
	data, err = io.ReadAll(io.NewSectionReader(f, 0, math.MaxInt64))
	return data, func() error { return nil }, err
}

//go:build !unix

package hf

import "os"

// mapFile reads a whole file into memory, where the system has no mmap that
// golang.org/x/sys/unix knows.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	data, err = os.ReadFile(path)
	return data, func() error { return nil }, err
}

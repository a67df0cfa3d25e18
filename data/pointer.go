package data

import (
	"io"
	"os"

	"eisft/internal/head"
)

// checkPointer reports a file that is a Git LFS pointer.
func checkPointer(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil //nolint:nilerr // whoever reads the file says so
	}
	defer f.Close()
	begin, _ := io.ReadAll(io.LimitReader(f, 256)) // as far as it can be read
	return head.Check(begin)
}

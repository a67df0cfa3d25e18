// Package head reads what stands at the beginning of a file and is no part of its content: a
// byte order mark, or the text of a Git LFS pointer in the file's place.
package head

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// lfs is how a Git LFS pointer begins
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
const lfs = "version https://git-lfs.github.com/spec/"

// Check reports a file that is a Git LFS pointer: begin is its beginning, of 256 bytes or more
// where it has that many.
func Check(begin []byte) error {
	if !bytes.HasPrefix(begin, []byte(lfs)) {
		return nil
	}
	size := "the file"
	for line := range bytes.Lines(begin[:min(len(begin), 256)]) {
		if n, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("size ")); ok {
			size = fmt.Sprintf("the file of %s bytes", n)
		}
	}
	return fmt.Errorf("found a Git LFS pointer in the place of %s that it stands for: run git lfs pull in its folder, or download the file itself", size)
}

// ReadText reads a file of UTF-8 text: without the byte order mark that some editors put in front.
func ReadText(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	err = Check(text)
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		err = errors.New("found text in UTF-16, want UTF-8: save it as that")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), nil
}

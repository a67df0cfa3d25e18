// Package head reads what stands at the beginning of a file and is no part of its content: a
// byte order mark, or the text of a Git LFS pointer in the file's place.
package head

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"eisft/internal/utf8text"
)

// lfs is how a Git LFS pointer begins
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
const lfs = "version https://git-lfs.github.com/spec/"

// IsPointer says whether a file that begins so is a Git LFS pointer.
func IsPointer(begin []byte) bool { return bytes.HasPrefix(begin, []byte(lfs)) }

// Check reports a file that is a Git LFS pointer: begin is its beginning, of 256 bytes or more
// where it has that many.
func Check(begin []byte) error {
	if !IsPointer(begin) {
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

// Bounds of what is read at once, in bytes: far above what any model or run has.
const (
	Description = 16 << 20  // of a model, an adapter, a run
	Index       = 64 << 20  // of shards
	Vocabulary  = 512 << 20 // tokenizer.json, of which the largest have 35 MB
)

// Read reads a file of at most so many bytes, which may be a device or a pipe without end.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		return nil, fmt.Errorf("%s: found more than %d bytes, too many for what it should be", path, most)
	}
	return text, err
}

// ReadText reads a file of UTF-8 text: without the byte order mark that some editors put in front.
func ReadText(path string, most int64) ([]byte, error) {
	text, err := Read(path, most)
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
	return bytes.TrimPrefix(text, []byte(utf8text.BOM)), nil
}

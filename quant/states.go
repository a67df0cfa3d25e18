package quant

import (
	"fmt"
	"io"
	"unsafe"
)

// States are the hidden states between two layers of some sequences, [n,D] each. They lie
// in a file and are read and written in parts, so that they take no memory.
type States struct {
	width  int
	starts []int // of each sequence, in rows; behind the last, the end
	file   interface {
		io.ReaderAt
		io.WriterAt
	}
}

// Sequences returns how many there are.
func (s *States) Sequences() int { return len(s.starts) - 1 }

// Len returns the number of tokens of a sequence.
func (s *States) Len(sequence int) int { return s.starts[sequence+1] - s.starts[sequence] }

// Read reads tokens of a sequence, from the first-th on: x is [tokens,D].
func (s *States) Read(x []float32, sequence, first int) error {
	at, err := s.at(x, sequence, first)
	if err == nil {
		_, err = s.file.ReadAt(asBytes(x), at)
	}
	if err != nil {
		return fmt.Errorf("hidden states of sequence %d: %w", sequence, err)
	}
	return nil
}

// write is the counterpart of Read.
func (s *States) write(x []float32, sequence, first int) error {
	at, err := s.at(x, sequence, first)
	if err == nil {
		_, err = s.file.WriteAt(asBytes(x), at)
	}
	if err != nil {
		return fmt.Errorf("hidden states of sequence %d: %w", sequence, err)
	}
	return nil
}

// at returns where in the file these tokens lie.
func (s *States) at(x []float32, sequence, first int) (int64, error) {
	if n := s.Len(sequence); first < 0 || first+len(x)/s.width > n {
		return 0, fmt.Errorf("tokens %d to %d of %d", first, first+len(x)/s.width, n)
	}
	return 4 * int64(s.starts[sequence]+first) * int64(s.width), nil
}

// asBytes returns the memory of x: nothing but this process reads the file.
func asBytes(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

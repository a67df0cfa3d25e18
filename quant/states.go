package quant

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
)

// States are the hidden states between two layers of some sequences, [n,D] each. They lie
// in a file and are read and written in parts: they take no memory, however many there are.
type States struct {
	file   *os.File
	width  int   // D
	starts []int // of each sequence, in rows; behind the last, the end
	named  bool  // the file has a name, under which a later run finds it
	bytes  []byte
}

// Sequences returns how many there are.
func (s *States) Sequences() int { return len(s.starts) - 1 }

// Len returns the number of tokens of a sequence.
func (s *States) Len(sequence int) int { return s.starts[sequence+1] - s.starts[sequence] }

// tokens returns the number of tokens of all sequences.
func (s *States) tokens() int { return s.starts[len(s.starts)-1] }

// longest returns the number of tokens of the longest sequence.
func (s *States) longest() int {
	n := 0
	for i := range s.Sequences() {
		n = max(n, s.Len(i))
	}
	return n
}

// Read reads tokens of a sequence, from the first-th on: x is [tokens,D]. Calls follow each
// other.
func (s *States) Read(x []float32, sequence, first int) error {
	at, err := s.at(x, sequence, first)
	if err == nil {
		_, err = s.file.ReadAt(s.bytes, at)
	}
	if err != nil {
		return fmt.Errorf("hidden states of sequence %d: %w", sequence, err)
	}
	_, err = binary.Decode(s.bytes, binary.LittleEndian, x)
	return err
}

// write is the counterpart of Read.
func (s *States) write(x []float32, sequence, first int) error {
	at, err := s.at(x, sequence, first)
	if err == nil {
		_, err = binary.Encode(s.bytes, binary.LittleEndian, x)
	}
	if err == nil {
		_, err = s.file.WriteAt(s.bytes, at)
	}
	if err != nil {
		return fmt.Errorf("hidden states of sequence %d: %w", sequence, err)
	}
	return nil
}

// at returns where in the file these tokens lie, with room for their bytes.
func (s *States) at(x []float32, sequence, first int) (int64, error) {
	rows := len(x) / s.width
	if sequence < 0 || sequence >= s.Sequences() || first < 0 || first+rows > s.Len(sequence) {
		return 0, fmt.Errorf("there are no tokens %d to %d of it", first, first+rows)
	}
	s.bytes = slices.Grow(s.bytes[:0], 4*len(x))[:4*len(x)]
	return 4 * int64(s.starts[sequence]+first) * int64(s.width), nil
}

// close ends the use of the states. It may be called again, and of nil.
func (s *States) close() error {
	if s == nil || s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// remove is close, and no later run finds the states.
func (s *States) remove() error {
	if s == nil || s.file == nil {
		return nil
	}
	name := s.file.Name()
	err := s.close()
	if s.named {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

package train

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
)

// Group is the ranks that train one run together, each a process (or a goroutine) that
// calls [Train] with the same configuration and options but for its own Group. Every rank
// reads the whole batch, computes the gradients of its share of the samples, and takes the
// same optimizer step as all others along the sum.
//
// All ranks make the same calls in the same order. A call waits for the others; it fails
// where one of them is lost, and must not wait for ever.
type Group interface {
	// Rank is this process's number, from 0. Rank 0 writes the run folder.
	Rank() int
	// Size is the number of ranks.
	Size() int
	// Exchange hands send[j] to rank j and fills receive[i] with what rank i hands to this
	// one. Both sides know the lengths.
	Exchange(send, receive [][]float32) error
	// Gather returns the records of all ranks, by rank. They are small, some kilobytes
	// a sample, and need not have the same length.
	Gather(record []byte) ([][]byte, error)
}

// Alone is the group of one process.
type Alone struct{}

// Rank is 0.
func (Alone) Rank() int { return 0 }

// Size is 1.
func (Alone) Size() int { return 1 }

// Gather returns the record.
func (Alone) Gather(r []byte) ([][]byte, error) { return [][]byte{r}, nil }

// Exchange copies.
func (Alone) Exchange(send, receive [][]float32) error { copy(receive[0], send[0]); return nil }

// message is what a rank tells the others where all meet: what it has found, or why it
// ends. A rank that fails between two meetings tells that at the next one ([Tell]),
// so that nobody waits for it.
type message[T any] struct {
	Failed string
	Found  T
}

// failure is a message without anything found, which is read as one of any type.
type failure struct{ Failed string }

// GroupError is an error that the other ranks know, or that they cannot be told.
type GroupError struct {
	Lost bool // the ranks cannot meet any more
	err  error
}

func (e *GroupError) Error() string { return e.err.Error() }
func (e *GroupError) Unwrap() error { return e.err }

func told(err error) bool { return errors.As(err, new(*GroupError)) }

// meet tells the other ranks what this one has found and returns what each has. It fails
// if one of them has failed.
func meet[T any](g Group, found T) ([]T, error) { return tell[T](g, message[T]{Found: found}) }

func tell[T any](g Group, m any) ([]T, error) {
	var record bytes.Buffer
	if err := gob.NewEncoder(&record).Encode(m); err != nil {
		return nil, err
	}
	records, err := g.Gather(record.Bytes())
	if err != nil {
		return nil, &GroupError{Lost: true, err: err}
	}
	found := make([]T, len(records))
	for rank, r := range records {
		var m message[T]
		if err := gob.NewDecoder(bytes.NewReader(r)).Decode(&m); err != nil {
			return nil, &GroupError{Lost: true, err: fmt.Errorf("what rank %d tells: %w; do all ranks run the same eisft?", rank, err)}
		}
		if m.Failed != "" {
			return nil, &GroupError{err: fmt.Errorf("rank %d: %s", rank, m.Failed)}
		}
		found[rank] = m.Found
	}
	return found, nil
}

// onFirst does something on rank 0 alone and returns on every rank what it found.
func onFirst[T any](g Group, do func() (T, error)) (T, error) {
	var found T
	if g.Rank() == 0 {
		var err error
		if found, err = do(); err != nil {
			return found, err
		}
	}
	all, err := meet(g, found)
	if err != nil {
		return found, err
	}
	return all[0], nil
}

// write changes the run folder, which rank 0 does alone.
func (t *trainer) write(do func() error) error {
	_, err := onFirst(t.group, func() (bool, error) { return true, do() })
	return err
}

// Tell ends what all ranks of a group do with err (nil: done), when the others have heard of
// it, and fails where one of them did.
func Tell(g Group, err error) error {
	if told(err) {
		return err
	}
	var m failure
	if err != nil {
		m.Failed = err.Error()
	}
	if _, others := tell[bool](g, m); err == nil {
		err = others
	}
	return err
}

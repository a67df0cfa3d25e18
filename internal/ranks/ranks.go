// Package ranks lets the processes of one command work together, each with a part of the
// samples: what they need of each other ([Group]), and how they find out that one of them has
// failed.
package ranks

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
)

// Group is the ranks that work together, each a process (or a goroutine of a test) that does
// the same with its own Group.
//
// All ranks make the same calls in the same order. A call waits for the others; it fails
// where one of them is lost, and must not wait for ever.
type Group interface {
	// Rank is this process's number, from 0. Rank 0 writes what there is to write.
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

// Error is an error that the other ranks know, or that they cannot be told.
type Error struct {
	Lost bool // the ranks cannot meet any more
	err  error
}

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// Told says whether the other ranks know err, or cannot be told.
func Told(err error) bool { return errors.As(err, new(*Error)) }

// Instead returns what is to be said in place of err: the other ranks know it if they know err.
func Instead(err, say error) error {
	var known *Error
	if errors.As(err, &known) {
		return &Error{known.Lost, say}
	}
	return say
}

// Meet tells the other ranks what this one has found and returns what each has. It fails
// if one of them has failed.
func Meet[T any](g Group, found T) ([]T, error) { return tell[T](g, message[T]{Found: found}) }

func tell[T any](g Group, m any) ([]T, error) {
	var record bytes.Buffer
	if err := gob.NewEncoder(&record).Encode(m); err != nil {
		return nil, err
	}
	records, err := g.Gather(record.Bytes())
	if err != nil {
		return nil, Lost(err)
	}
	found := make([]T, len(records))
	for rank, r := range records {
		var m message[T]
		if err := gob.NewDecoder(bytes.NewReader(r)).Decode(&m); err != nil {
			return nil, Lost(fmt.Errorf("what rank %d tells: %w; do all ranks run the same eisft?", rank, err))
		}
		if m.Failed != "" {
			return nil, Failed(fmt.Errorf("rank %d: %s", rank, m.Failed))
		}
		found[rank] = m.Found
	}
	return found, nil
}

// Input is something that all ranks read, under the name by which this rank knows it.
type Input struct{ Name, Sum string }

// Agree fails on all ranks where one of them reads anything else than rank 0, in the same order. It
// says which rank that is, on which host, and what it reads.
func Agree(g Group, mine []Input) error {
	type reads struct {
		Host   string
		Inputs []Input
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a host without a name"
	}
	all, err := Meet(g, reads{host, mine})
	if err != nil {
		return err
	}
	what := func(r reads, i int) string {
		if i < len(r.Inputs) {
			return fmt.Sprintf("%s (hash %.12s)", r.Inputs[i].Name, r.Inputs[i].Sum)
		}
		return fmt.Sprintf("%d inputs and no more", i)
	}
	for rank, r := range all {
		for i := range max(len(r.Inputs), len(all[0].Inputs)) {
			if i >= min(len(r.Inputs), len(all[0].Inputs)) || r.Inputs[i].Sum != all[0].Inputs[i].Sum {
				return Failed(fmt.Errorf("rank %d on %s reads %s, and rank 0 on %s reads %s: all ranks are to read the same files",
					rank, r.Host, what(r, i), all[0].Host, what(all[0], i)))
			}
		}
	}
	return nil
}

// Or is the group, or of none that of this process alone.
func Or(g Group) Group {
	if g == nil {
		return Alone{}
	}
	return g
}

// OnFirst does something on rank 0 alone and returns on every rank what it found.
func OnFirst[T any](g Group, do func() (T, error)) (T, error) {
	var found T
	if g.Rank() == 0 {
		var err error
		if found, err = do(); err != nil {
			return found, err
		}
	}
	all, err := Meet(g, found)
	if err != nil {
		return found, err
	}
	return all[0], nil
}

// Tell ends what all ranks of a group do with err (nil: done), when the others have heard of
// it, and fails where one of them did.
func Tell(g Group, err error) error {
	if Told(err) {
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

// Share are the samples of n that are a rank's: those of all ranks, one rank after the other,
// are all of them, and no rank has two more than another.
func Share(rank, ranks, n int) (first, last int) {
	return rank * n / ranks, (rank + 1) * n / ranks
}

// Lost is an error of a call that all ranks make.
func Lost(err error) error { return &Error{Lost: true, err: err} }

// Failed is an error that all ranks have found, each by itself.
func Failed(err error) error { return &Error{err: err} }

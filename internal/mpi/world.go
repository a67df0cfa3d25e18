// Package mpi lets the processes of one command meet over Open MPI, whose library is opened
// at run time and only where a launcher has started several: [Launched] says so, [Start]
// opens it. The four calls that it makes wait by looking again and again with growing
// pauses, so that ranks that wait for another leave it the cores.
package mpi

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// World is all ranks that were started together. Its calls are made by all of them, in the
// same order, and by one goroutine of each at a time.
type World struct {
	library    *library
	rank, size int
	sent       int64
}

// Start opens the library and meets the other ranks.
func Start() (*World, error) {
	lib, err := open()
	if err != nil {
		return nil, err
	}
	w := &World{library: lib}
	if w.rank, w.size, err = lib.start(); err != nil {
		return nil, fmt.Errorf("%s: %w", lib.name, err)
	}
	return w, nil
}

// Rank is this process's number, from 0.
func (w *World) Rank() int { return w.rank }

// Size is the number of ranks.
func (w *World) Size() int { return w.size }

// Sent is how many bytes this rank has handed to the others.
func (w *World) Sent() int64 { return w.sent }

// Close ends this rank's part. All ranks end together; with broken, where one of them is
// lost, those that are left are ended by force.
func (w *World) Close(broken bool) error {
	if broken {
		return w.library.abort()
	}
	return w.library.finish()
}

// Gather returns the records of all ranks, by rank. They need not have the same length.
func (w *World) Gather(record []byte) ([][]byte, error) {
	lengths := make([]byte, 8*w.size)
	all := layoutOf(w.size, func(int) int { return 8 })
	if err := w.library.allGather(binary.LittleEndian.AppendUint64(nil, uint64(len(record))), lengths, all); err != nil {
		return nil, fmt.Errorf("gather lengths: %w", err)
	}
	total := 0
	records := layoutOf(w.size, func(rank int) int {
		n := int(binary.LittleEndian.Uint64(lengths[8*rank:]))
		total += n
		return n
	})
	if total > math.MaxInt32 {
		return nil, fmt.Errorf("the ranks' records have %d bytes, Open MPI carries %d at once", total, math.MaxInt32)
	}
	received := make([]byte, total)
	if err := w.library.allGather(record, received, records); err != nil {
		return nil, fmt.Errorf("gather: %w", err)
	}
	w.sent += int64(8+len(record)) * int64(w.size-1)
	out := make([][]byte, w.size)
	for rank := range out {
		out[rank] = received[records.at[rank]:][:records.count[rank]:records.count[rank]]
	}
	return out, nil
}

// Exchange hands send[j] to rank j and fills receive[i] with what rank i hands to this one.
// Both sides know the lengths.
func (w *World) Exchange(send, receive [][]float32) error {
	out, in := lengths(send), lengths(receive)
	if out.total > math.MaxInt32 || in.total > math.MaxInt32 {
		return fmt.Errorf("exchange of %d and %d values, Open MPI carries %d at once", out.total, in.total, math.MaxInt32)
	}
	from, to := make([]float32, out.total), make([]float32, in.total)
	for rank, x := range send {
		copy(from[out.at[rank]:], x)
	}
	if err := w.library.allToAll(from, out, to, in); err != nil {
		return fmt.Errorf("exchange: %w", err)
	}
	w.sent += int64(out.total-len(send[w.rank])) * int64(unsafe.Sizeof(float32(0)))
	for rank, x := range receive {
		copy(x, to[in.at[rank]:])
	}
	return nil
}

// layout is where each rank's part of a buffer lies, in elements.
type layout struct {
	count, at []int32
	total     int
}

func layoutOf(size int, count func(rank int) int) layout {
	l := layout{count: make([]int32, size), at: make([]int32, size)}
	for rank := range size {
		n := count(rank)
		l.at[rank], l.count[rank] = int32(l.total), int32(n)
		l.total += n
	}
	return l
}

func lengths(parts [][]float32) layout {
	return layoutOf(len(parts), func(rank int) int { return len(parts[rank]) })
}

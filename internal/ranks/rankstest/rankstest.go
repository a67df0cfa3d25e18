// Package rankstest has ranks that are goroutines of a test.
package rankstest

import (
	"fmt"
	"reflect"
	"sync"
	"time"

	"eisft/internal/ranks"
)

// Run runs do on so many ranks at once and returns when all have ended.
func Run(size int, do func(g ranks.Group)) {
	r := &room{size: size}
	var all sync.WaitGroup
	for rank := range size {
		all.Go(func() { do(member{r, rank}) })
	}
	all.Wait()
}

// room is where the ranks of a group meet that are goroutines of a test.
type room struct {
	size int
	mu   sync.Mutex
	now  *meeting
}

// meeting is one call that all ranks make.
type meeting struct {
	brought []any // by rank
	waiting int
	done    chan struct{}
	err     error
}

// member is one rank in a room.
type member struct {
	*room
	rank int
}

func (m member) Rank() int { return m.rank }
func (m member) Size() int { return m.size }

func (m member) Exchange(send, receive [][]float32) error {
	met, err := m.meet(send)
	if err != nil {
		return err
	}
	for i, b := range met.brought {
		from := b.([][]float32)[m.rank]
		if len(from) != len(receive[i]) {
			return fmt.Errorf("rank %d sends %d values to rank %d, which waits for %d", i, len(from), m.rank, len(receive[i]))
		}
		copy(receive[i], from)
	}
	_, err = m.meet(struct{}{}) // what was sent is not written to before all have it
	return err
}

func (m member) Gather(record []byte) ([][]byte, error) {
	met, err := m.meet(record)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, m.size)
	for i, b := range met.brought {
		out[i] = b.([]byte)
	}
	return out, nil
}

// meet waits until all ranks have brought something, and fails where they do not.
func (m member) meet(brings any) (*meeting, error) {
	m.mu.Lock()
	if m.now == nil {
		m.now = &meeting{brought: make([]any, m.size), done: make(chan struct{})}
	}
	met := m.now
	met.brought[m.rank] = brings
	if met.waiting++; met.waiting == m.size {
		met.finish()
		m.now = nil
		close(met.done)
	}
	m.mu.Unlock()
	select {
	case <-met.done:
		return met, met.err
	case <-time.After(2 * time.Minute):
		return nil, fmt.Errorf("rank %d waits in vain", m.rank)
	}
}

func (met *meeting) finish() {
	for i, b := range met.brought {
		if reflect.TypeOf(b) != reflect.TypeOf(met.brought[0]) {
			met.err = fmt.Errorf("rank %d brings %T, rank 0 %T", i, b, met.brought[0])
			return
		}
	}
}

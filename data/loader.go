package data

import (
	"errors"
	"fmt"
)

// Loader reads, encodes and hands out the samples of a source in shuffled order,
// epoch after epoch. Samples that are too long are skipped and counted.
type Loader struct {
	source  *Source
	n       int // samples in use
	encoder *Encoder
	sampler *Sampler
	skipped int
	reason  error
}

// NewLoader uses the first n samples of a source (0: all) and starts at a cursor; the
// zero Cursor is the beginning.
func NewLoader(s *Source, n int, e *Encoder, seed uint64, at Cursor) (*Loader, error) {
	if n == 0 || n > s.Len() {
		n = s.Len()
	}
	sampler, err := NewSampler(seed, n, at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return &Loader{source: s, n: n, encoder: e, sampler: sampler}, nil
}

// Next returns the next sample that fits the encoder's limit. It fails if a whole epoch
// has none, and on a row that cannot be read or encoded.
func (l *Loader) Next() (Encoded, error) {
	for range l.n {
		s, err := l.source.At(l.sampler.Next())
		if err != nil {
			return Encoded{}, err
		}
		enc, err := l.encoder.Encode(s)
		if !errors.Is(err, ErrTooLong) {
			return enc, err
		}
		l.skipped++
		l.reason = err
	}
	return Encoded{}, fmt.Errorf("%s: not one of its %d samples fits; the last one: %w", l.source.path, l.n, l.reason)
}

// Cursor is where Next will go on: a Loader made with it hands out the same samples.
func (l *Loader) Cursor() Cursor { return l.sampler.Cursor() }

// Skipped is how many samples were too long so far, and the last one's error (nil if none).
func (l *Loader) Skipped() (int, error) { return l.skipped, l.reason }

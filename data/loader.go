package data

import "fmt"

// Loader reads, encodes and hands out samples of a source in shuffled order, epoch after
// epoch.
type Loader struct {
	source  *Source
	rows    []int // in use
	encoder *Encoder
	sampler *Sampler
}

// NewLoader uses the rows of a source that [Survey.Use] returns, and starts at a cursor;
// the zero Cursor is the beginning. The order depends on the number of rows alone.
func NewLoader(s *Source, rows []int, e *Encoder, seed uint64, at Cursor) (*Loader, error) {
	sampler, err := NewSampler(seed, len(rows), at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return &Loader{source: s, rows: rows, encoder: e, sampler: sampler}, nil
}

// Next returns the next sample. It fails on a row that cannot be read or encoded.
func (l *Loader) Next() (Encoded, error) {
	s, err := l.source.At(l.rows[l.sampler.Next()])
	if err != nil {
		return Encoded{}, err
	}
	return l.encoder.Encode(s)
}

// Cursor is where Next will go on: a Loader made with it hands out the same samples.
func (l *Loader) Cursor() Cursor { return l.sampler.Cursor() }

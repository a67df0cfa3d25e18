package data

import "fmt"

// Loader reads, encodes and hands out samples of a source in shuffled order, epoch after
// epoch.
type Loader struct {
	source  *Source
	use     []Piece
	encoder *Encoder
	sampler *Sampler
}

// NewLoader uses the samples of a source that [Survey.Use] returns, and starts at a cursor;
// the zero Cursor is the beginning. The order is that of [Source.Sampler].
func NewLoader(s *Source, use []Piece, e *Encoder, seed uint64, at Cursor) (*Loader, error) {
	sampler, err := s.Sampler(use, seed, at)
	if err != nil {
		return nil, err
	}
	return &Loader{source: s, use: use, encoder: e, sampler: sampler}, nil
}

// Sampler draws the numbers of samples in use. Without weights their order depends on how many
// there are alone; with them on which entry each is of, too.
func (s *Source) Sampler(use []Piece, seed uint64, at Cursor) (*Sampler, error) {
	sampler, err := newSampler(seed, s.mixture(use), at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return sampler, nil
}

// Next returns the next sample. It fails on a row that cannot be read or encoded.
func (l *Loader) Next() (Encoded, error) {
	return l.source.Encode(l.use[l.sampler.Next()], l.encoder)
}

// splitRows are the samples that rows were split into: each comes when its turn is, and the
// others are not to be encoded again for it.
type splitRows struct {
	by     *Encoder
	tokens int
	parts  map[int][]Encoded // by the row's number in the file or files
}

// mostSplit is how many tokens of split rows are kept, which take 5 bytes each.
const mostSplit = 16 << 20

// keep keeps the samples of a row, as long as there is room.
func (r *splitRows) keep(by *Encoder, row int, parts []Encoded) {
	if r.by != by {
		*r = splitRows{by: by, parts: map[int][]Encoded{}}
	}
	tokens := 0
	for _, p := range parts {
		tokens += len(p.IDs)
	}
	if len(parts) > 1 && r.tokens+tokens <= mostSplit {
		r.parts[row], r.tokens = parts, r.tokens+tokens
	}
}

// Encode reads and encodes a sample.
func (s *Source) Encode(p Piece, e *Encoder) (Encoded, error) {
	number := p.Row
	if s.rows != nil {
		number = s.rows[p.Row]
	}
	if s.split.by == e {
		if parts := s.split.parts[number]; p.Part < len(parts) {
			return parts[p.Part], nil
		}
	}
	row, err := s.At(p.Row)
	if err != nil {
		return Encoded{}, err
	}
	parts, err := e.Parts(row)
	if err == nil && p.Part >= len(parts) {
		err = fmt.Errorf("%s: it has %d parts, and had more when it was checked: the file was changed meanwhile", row.Where, len(parts))
	}
	if err != nil {
		return Encoded{}, err
	}
	s.split.keep(e, number, parts)
	return parts[p.Part], nil
}

// Cursor is where Next will go on: a Loader made with it hands out the same samples.
func (l *Loader) Cursor() Cursor { return l.sampler.Cursor() }

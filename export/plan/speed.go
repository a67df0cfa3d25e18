package plan

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"eisft/export/host"
)

// Speed is what a plan predicts of a shape, measured of its graphs.
type Speed struct {
	FirstToken []float64 // seconds, for each length of a prompt
	Tokens     float64   // a second, commits included, once slots and window are full
}

// MeasureSpeed reads prompts of rising lengths, each the beginning of the next, and then as many tokens
// one by one as a segment has. read, if not nil, is called with how many were read until then.
func MeasureSpeed(ctx context.Context, m *host.Model, lengths []int, clock func() time.Duration, read func(tokens int)) (s *Speed, err error) {
	st, err := m.NewStream()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	const few = 256 // different tokens, which every vocabulary has
	random := rand.New(rand.NewPCG(1, 2))
	next := func(n int) ([]float32, error) {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = random.Int32N(int32(min(few, st.Vocabulary())))
		}
		before := st.Seen()
		return st.Read(ctx, ids, func(done int) {
			if read != nil {
				read(before + done)
			}
		})
	}
	s = &Speed{}
	began := clock()
	for _, n := range lengths {
		if _, err := next(n - st.Seen()); err != nil {
			return nil, err
		}
		s.FirstToken = append(s.FirstToken, (clock() - began).Seconds())
	}
	sizes := m.Shape.Sizes()
	if full := sizes.Capacity(); st.Seen() < full {
		if _, err := next(full - st.Seen()); err != nil {
			return nil, err
		}
	}
	began = clock()
	for range sizes.Segment {
		if _, err := next(1); err != nil {
			return nil, err
		}
	}
	s.Tokens = float64(sizes.Segment) / (clock() - began).Seconds()
	return s, nil
}

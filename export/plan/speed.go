package plan

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"eisft/export/host"
)

// Speed is what a plan predicts of a shape, measured of its graphs, and what their first runs take more.
type Speed struct {
	FirstToken []float64 // seconds, for each length of a prompt
	Tokens     float64   // a second, commits included, once slots and window are full
	// FirstRuns are the seconds that the first prompt after loading takes beyond later ones: a runtime
	// takes memory for its numbers in the first two runs of a graph.
	FirstRuns float64
}

// MeasureSpeed reads prompts of rising lengths, each the beginning of the next, and then as many tokens
// one by one as a segment has. Every graph has run twice before. read, if not nil, is called with how many
// tokens were read until then.
func MeasureSpeed(ctx context.Context, m *host.Model, lengths []int, clock func() time.Duration, read func(tokens int)) (*Speed, error) {
	sizes := m.Shape.Sizes()
	brief := (sizes.Short()/sizes.Segment + 1) * sizes.Segment // not held, so that two segments or more are committed
	full := max(lengths[len(lengths)-1], sizes.Capacity())
	cold, err := readTo(ctx, m, []int{brief, brief + 1, brief + 2}, clock, nil)
	if err != nil {
		return nil, err
	}
	stops := append([]int{brief}, lengths...)
	for i := range sizes.Segment + 1 {
		stops = append(stops, full+i)
	}
	warm, err := readTo(ctx, m, stops, clock, read)
	if err != nil {
		return nil, err
	}
	s := &Speed{
		FirstRuns: max(0, cold[brief]-warm[brief]),
		Tokens:    float64(sizes.Segment) / (warm[full+sizes.Segment] - warm[full]),
	}
	for _, n := range lengths {
		s.FirstToken = append(s.FirstToken, warm[n])
	}
	return s, nil
}

// readTo reads tokens in a stream of its own, and returns the seconds until each of some numbers of them.
func readTo(ctx context.Context, m *host.Model, stops []int, clock func() time.Duration, read func(tokens int)) (seconds map[int]float64, err error) {
	st, err := m.NewStream()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	const few = 256 // different tokens, which every vocabulary has
	random := rand.New(rand.NewPCG(1, 2))
	seconds = map[int]float64{}
	began := clock()
	for _, stop := range slices.Compact(slices.Sorted(slices.Values(stops))) {
		before := st.Seen()
		ids := make([]int32, stop-before)
		for i := range ids {
			ids[i] = random.Int32N(int32(min(few, st.Vocabulary())))
		}
		_, err := st.Read(ctx, ids, func(done int) {
			if read != nil {
				read(before + done)
			}
		})
		if err != nil {
			return nil, err
		}
		seconds[stop] = (clock() - began).Seconds()
	}
	return seconds, nil
}

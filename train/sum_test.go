package train

import (
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/internal/ranks"
	"eisft/internal/ranks/rankstest"
)

// TestSumOverRanks: whatever the ranks and the batch, all ranks get the bits of one process,
// chunk by chunk.
func TestSumOverRanks(t *testing.T) {
	const size, chunk = 23, 10
	r := rand.New(rand.NewPCG(7, 7))
	for n := 1; n < 14; n++ {
		batch := make([][]float32, n)
		for i := range batch {
			for range size {
				batch[i] = append(batch[i], r.Float32()-0.5)
			}
		}
		of := func(first, last int) (s sums) {
			for i := first; i < last; i++ {
				s = s.add(partial{span{i, 1}, slices.Clone(batch[i])})
			}
			return s
		}
		want := of(0, n).total()
		for count := 1; count < 8; count++ {
			rankstest.Run(count, func(g ranks.Group) {
				got, err := sumOverRanks(g, of(ranks.Share(g.Rank(), count, n)), n, size, chunk)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("rank %d of %d, %d samples: %v, %v, want %v", g.Rank(), count, n, got, err, want)
				}
			})
		}
	}
}

// TestSpans: a rank of any share sends few sums, and one alone if the batch can be halved
// until each has a part.
func TestSpans(t *testing.T) {
	for _, tc := range []struct {
		lo, hi int
		want   []span
	}{
		{0, 0, nil},
		{0, 1, []span{{0, 1}}},
		{8, 16, []span{{8, 8}}},
		{5, 11, []span{{5, 1}, {6, 2}, {8, 2}, {10, 1}}},
	} {
		if got := spans(tc.lo, tc.hi); !slices.Equal(got, tc.want) {
			t.Errorf("samples %d to %d are sent as %v, want %v", tc.lo, tc.hi, got, tc.want)
		}
	}
}

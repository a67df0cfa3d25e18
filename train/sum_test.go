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

// counted counts the values that a rank sends.
type counted struct {
	ranks.Group
	sent *int
}

func (c counted) Exchange(send, receive [][]float32) error {
	for rank, x := range send {
		if rank != c.Rank() {
			*c.sent += len(x)
		}
	}
	return c.Group.Exchange(send, receive)
}

// TestValuesSent: a rank sends 2·(N-1)/N sums, as in a ring's all-reduce, where the batch can be
// halved until each has a part, and at most one sum more for each other run of its samples.
func TestValuesSent(t *testing.T) {
	const size = 1200
	for _, tc := range []struct{ ranks, batch, most int }{
		{2, 2, 1200}, {2, 16, 1200}, {4, 4, 1800}, {4, 64, 1800}, {8, 8, 2100}, // 2·(N-1)/N
		{3, 6, 2400}, {4, 10, 3600},
	} {
		rankstest.Run(tc.ranks, func(g ranks.Group) {
			first, last := ranks.Share(g.Rank(), tc.ranks, tc.batch)
			var mine sums
			for i := first; i < last; i++ {
				mine = mine.add(partial{span{i, 1}, make([]float32, size)})
			}
			sent := 0
			if _, err := sumOverRanks(counted{g, &sent}, mine, tc.batch, size, size); err != nil || sent > tc.most {
				t.Errorf("rank %d of %d sends %d values of a batch of %d, %v; want at most %d", g.Rank(), tc.ranks, sent, tc.batch, err, tc.most)
			}
		})
	}
}

package train

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// TestSumOverRanks: whatever the ranks and the batch, all ranks get the bits of one process,
// chunk by chunk. Each sample is one rank's, and no rank has two more than another.
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
		for ranks := 1; ranks < 8; ranks++ {
			meeting, covered := &room{size: ranks}, 0
			var all sync.WaitGroup
			for rank := range ranks {
				first, last := shareOf(rank, ranks, n)
				if first != covered || last-first < n/ranks || last-first > (n+ranks-1)/ranks {
					t.Errorf("rank %d of %d has samples %d to %d of %d, after %d", rank, ranks, first, last, n, covered)
				}
				covered = last
				all.Go(func() {
					got, err := sumOverRanks(member{meeting, rank}, of(first, last), n, size, chunk)
					if err != nil || !slices.Equal(got, want) {
						t.Errorf("rank %d of %d, %d samples: %v, %v, want %v", rank, ranks, n, got, err, want)
					}
				})
			}
			all.Wait()
			if covered != n {
				t.Errorf("%d ranks have %d samples of %d", ranks, covered, n)
			}
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

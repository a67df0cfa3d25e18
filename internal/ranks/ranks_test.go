package ranks_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"eisft/internal/ranks"
	"eisft/internal/ranks/rankstest"
)

// TestMeet: all hear of all, of the first alone, and of a failure wherever it is told.
func TestMeet(t *testing.T) {
	rankstest.Run(3, func(g ranks.Group) {
		all, err := ranks.Meet(g, 10*g.Rank())
		if err != nil || !slices.Equal(all, []int{0, 10, 20}) {
			t.Errorf("rank %d meets %v, %v", g.Rank(), all, err)
		}
		first, err := ranks.OnFirst(g, func() (string, error) { return "found", nil })
		if err != nil || first != "found" {
			t.Errorf("rank %d hears %q, %v of the first", g.Rank(), first, err)
		}
		if g.Rank() == 1 {
			err = errors.New("no disk")
		} else {
			_, err = ranks.Meet(g, 0)
		}
		if ranks.Told(err) != (g.Rank() != 1) {
			t.Errorf("rank %d: %v was told before: %v", g.Rank(), err, ranks.Told(err))
		}
		want := "rank 1: no disk"
		if g.Rank() == 1 {
			want = "no disk"
		}
		if err := ranks.Tell(g, err); err == nil || err.Error() != want {
			t.Errorf("rank %d: %v, want %s", g.Rank(), err, want)
		}
	})
}

// TestAgree: what a rank reads may have another name, and no other content; which rank reads what, and
// where, all are told.
func TestAgree(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	a, b := ranks.Input{Name: "/a/x", Sum: "11"}, ranks.Input{Name: "/b/x", Sum: "11"}
	changed, more := ranks.Input{Name: "/b/x", Sum: "12"}, ranks.Input{Name: "/b/y", Sum: "13"}
	for _, tc := range []struct {
		last []ranks.Input // of three ranks, the first of which read a
		want string
	}{
		{[]ranks.Input{b}, ""},
		{[]ranks.Input{changed}, "rank 2 on HOST reads /b/x (hash 12), and rank 0 on HOST reads /a/x (hash 11): all ranks are to read the same files"},
		{[]ranks.Input{b, more}, "rank 2 on HOST reads /b/y (hash 13), and rank 0 on HOST reads 1 inputs and no more: all ranks are to read the same files"},
		{nil, "rank 2 on HOST reads 0 inputs and no more, and rank 0 on HOST reads /a/x (hash 11): all ranks are to read the same files"},
	} {
		rankstest.Run(3, func(g ranks.Group) {
			mine := []ranks.Input{a}
			if g.Rank() == 2 {
				mine = tc.last
			}
			err := ranks.Agree(g, mine)
			switch want := strings.ReplaceAll(tc.want, "HOST", host); {
			case want == "" && err != nil:
				t.Errorf("rank %d: %v", g.Rank(), err)
			case want != "" && (err == nil || err.Error() != want || !ranks.Told(err)):
				t.Errorf("rank %d: %v, want %s", g.Rank(), err, want)
			}
		})
	}
}

// TestShare: each sample is one rank's, in order, and no rank has two more than another.
func TestShare(t *testing.T) {
	for size := 1; size < 6; size++ {
		for n := range 12 {
			covered := 0
			for rank := range size {
				first, last := ranks.Share(rank, size, n)
				if first != covered || last-first < n/size || last-first > (n+size-1)/size {
					t.Errorf("rank %d of %d has samples %d to %d of %d, after %d", rank, size, first, last, n, covered)
				}
				covered = last
			}
			if covered != n {
				t.Errorf("%d ranks have %d samples of %d", size, covered, n)
			}
		}
	}
}

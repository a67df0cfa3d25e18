package schedule_test

import (
	"fmt"

	"eisft/model/schedule"
)

// A layer with 1 sink, 2 slots, a window of 2 and segments of 3 reads 20 tokens, of which
// the first call brings 5: no more than 1+2+3, so that nothing is committed until more
// tokens come, and then only when the prompt has grown to 6.
func Example() {
	plan := schedule.Plan{Layers: []schedule.Sizes{{Sink: 1, Slots: 2, Window: 2, Segment: 3}}, Routing: true}
	s := schedule.New(plan)
	commit := func() {
		for s.Due() {
			t := s.Commit()[0]
			p := s.Parts(0)
			fmt.Printf("  commit: %d of the %d tokens from place %d on stay, %d are written; now %d sinks, %d slots, window %d, recent %d\n",
				t.Stay, t.Candidates, t.First, t.Written, p.Sinks, p.Slots, p.Window, p.Recent)
		}
	}
	for _, n := range []int{5, 15} {
		fmt.Printf("%d tokens come\n", n)
		s.Begin(n)
		for n > 0 {
			m := s.Next()
			commit()
			fmt.Printf("  read %d, the first at position %d\n", m, s.Position(0))
			s.Advance(m)
			n -= m
			commit()
		}
	}
	// Output:
	// 5 tokens come
	//   read 3, the first at position 0
	//   read 2, the first at position 3
	// 15 tokens come
	//   read 1, the first at position 5
	//   commit: 0 of the 0 tokens from place 1 on stay, 0 are written; now 1 sinks, 0 slots, window 2, recent 3
	//   commit: 2 of the 3 tokens from place 1 on stay, 1 are written; now 1 sinks, 2 slots, window 2, recent 0
	//   read 3, the first at position 5
	//   commit: 2 of the 5 tokens from place 1 on stay, 3 are written; now 1 sinks, 2 slots, window 2, recent 0
	//   read 3, the first at position 5
	//   commit: 2 of the 5 tokens from place 1 on stay, 3 are written; now 1 sinks, 2 slots, window 2, recent 0
	//   read 3, the first at position 5
	//   commit: 2 of the 5 tokens from place 1 on stay, 3 are written; now 1 sinks, 2 slots, window 2, recent 0
	//   read 3, the first at position 5
	//   commit: 2 of the 5 tokens from place 1 on stay, 3 are written; now 1 sinks, 2 slots, window 2, recent 0
	//   read 2, the first at position 5
}

// Of five candidates the two with the highest score stay; of the equal ones the earlier.
func ExampleTurnover_Choose() {
	t := schedule.Turnover{First: 1, Candidates: 5, Stay: 2, Written: 3}
	ranks := map[int]int{1: 7, 2: -4, 3: 9, 4: 7, 5: 0}
	kept, dropped := t.Choose(make([]int, 5), func(place int) int { return ranks[place] })
	fmt.Println(kept, dropped)
	// Output: [1 3] [2 4 5]
}

package schedule_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"eisft/model/schedule"
)

// token is a token of a text: its index and the rank of its score.
type token struct{ index, rank int }

// lists are what a layer holds, moved token by token as the method words it.
type lists struct {
	schedule.Sizes
	soft                                   bool
	sinks, slots, window, recent, memories []token
}

func (l *lists) stored() []token { return slices.Concat(l.sinks, l.slots, l.window, l.recent) }

// commit ends a segment.
func (l *lists) commit() {
	for range l.Segment {
		t := l.recent[0]
		l.recent = l.recent[1:]
		if len(l.sinks) < l.Sink {
			l.sinks = append(l.sinks, t)
		} else {
			l.window = append(l.window, t)
		}
	}
	var dropped []token
	for len(l.window) > l.Window {
		l.slots = append(l.slots, l.window[0])
		if l.soft && l.Slots > 0 {
			l.memories = append(l.memories, l.window[0])
		}
		l.window = l.window[1:]
	}
	for len(l.slots) > l.Slots && (!l.soft || l.Slots == 0) {
		worst := 0
		for i, t := range l.slots {
			if t.rank <= l.slots[worst].rank { // of equal ones the later
				worst = i
			}
		}
		dropped = append(dropped, l.slots[worst])
		l.slots = slices.Delete(slices.Clone(l.slots), worst, worst+1)
	}
	slices.SortFunc(dropped, func(a, b token) int { return a.index - b.index })
	l.memories = append(l.memories, dropped...)
}

// reading is a text read token by token, with every layer's lists.
type reading struct {
	layers []*lists
	held   bool
	read   int
}

func (r *reading) commit() {
	for _, l := range r.layers {
		l.commit()
	}
}

// short is the longest prompt that is held.
func (r *reading) short() int {
	n := r.layers[0].Sink + r.layers[0].Window + r.layers[0].Segment
	for _, l := range r.layers {
		n = min(n, l.Sink+l.Window+l.Segment)
	}
	return n
}

// add reads one token of which each layer ranks its own way.
func (r *reading) add(ranks []int) {
	if r.held && r.read == r.short() {
		r.held = false
		for len(r.layers[0].recent) >= r.layers[0].Segment {
			r.commit()
		}
	}
	for i, l := range r.layers {
		l.recent = append(l.recent, token{r.read, ranks[i]})
	}
	r.read++
	if !r.held && len(r.layers[0].recent) == r.layers[0].Segment {
		r.commit()
	}
}

// store is what a host keeps: one packed list a layer, moved as turnovers say.
type store struct {
	rows     []token
	memories []token
}

func (s *store) commit(t schedule.Turnover) {
	places := make([]int, t.Candidates)
	kept, dropped := t.Choose(places, func(place int) int { return s.rows[place].rank })
	for _, p := range places[t.Candidates-t.Written:] {
		s.memories = append(s.memories, s.rows[p])
	}
	if len(kept)+len(dropped) != t.Candidates || len(s.rows) != t.Stored {
		panic("the turnover's counts contradict each other")
	}
	next := slices.Clone(s.rows[:t.First])
	for _, p := range kept {
		next = append(next, s.rows[p])
	}
	s.rows = append(next, s.rows[t.First+t.Candidates:]...)
}

// randomPlan draws sizes, small ones so that every case comes often.
func randomPlan(r *rand.Rand) schedule.Plan {
	p := schedule.Plan{Absolute: r.IntN(2) == 0, Soft: r.IntN(3) == 0, Routing: r.IntN(2) == 0}
	segment := 1 + r.IntN(6)
	for range 1 + r.IntN(3) {
		p.Layers = append(p.Layers, schedule.Sizes{Sink: r.IntN(5), Slots: r.IntN(6), Window: r.IntN(9), Segment: segment})
	}
	return p
}

// TestSequence reads random texts in random pieces and compares what every layer stores,
// in which order, what it writes to the memory, and every position, with lists that are
// moved token by token.
func TestSequence(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		p := randomPlan(r)
		c := &check{T: t, r: r, plan: p, s: schedule.New(p), want: &reading{}, got: make([]*store, len(p.Layers))}
		for i, sizes := range p.Layers {
			c.want.layers = append(c.want.layers, &lists{Sizes: sizes, soft: p.Soft})
			c.got[i] = &store{}
		}
		for range 1 + r.IntN(6) {
			c.feed(1 + r.IntN(25))
		}
		if t.Failed() {
			return
		}
	}
}

type check struct {
	*testing.T
	r    *rand.Rand
	plan schedule.Plan
	s    *schedule.Sequence
	want *reading
	got  []*store
}

func (c *check) feed(n int) {
	if c.want.read == 0 {
		c.want.held = c.plan.Routing && n <= c.want.short()
	}
	c.s.Begin(n)
	reach := make([]int, len(c.got))
	for i := range reach {
		reach[i] = c.s.Reach(i)
	}
	for n > 0 {
		m := c.s.Next()
		c.commit()
		if m < 1 || m > n || m > c.plan.Segment() {
			c.Fatalf("%+v: a stretch of %d tokens of %d", c.plan, m, n)
		}
		from := c.want.read
		positions := make([]int, len(c.got))
		for i := range c.got {
			positions[i] = c.s.Position(i)
		}
		for range m {
			ranks := make([]int, len(c.got))
			for i := range ranks {
				ranks[i] = c.r.IntN(5)
				c.got[i].rows = append(c.got[i].rows, token{c.want.read, ranks[i]})
			}
			c.want.add(ranks)
		}
		for i, s := range c.got {
			at := len(s.rows) - m // the place of the first new one
			if want := c.plan.Position(at, from); positions[i] != want {
				c.Errorf("%+v: token %d has position %d in layer %d, want %d", c.plan, from, positions[i], i, want)
			}
			if len(s.rows) > reach[i] {
				c.Errorf("%+v: layer %d stores %d tokens, more than %d", c.plan, i, len(s.rows), reach[i])
			}
			if z := c.plan.Layers[i]; reach[i] > z.Capacity() && !(c.plan.Soft && z.Slots > 0) {
				c.Errorf("%+v: layer %d is to store %d tokens, more than its %d", c.plan, i, reach[i], z.Capacity())
			}
		}
		c.s.Advance(m)
		n -= m
		c.commit()
		c.compare()
	}
}

func (c *check) commit() {
	for c.s.Due() {
		for i, t := range c.s.Commit() {
			c.got[i].commit(t)
		}
	}
}

func (c *check) compare() {
	written, evicted := 0, false
	for i, l := range c.want.layers {
		p := c.s.Parts(i)
		if got, want := [4]int{p.Sinks, p.Slots, p.Window, p.Recent}, [4]int{len(l.sinks), len(l.slots), len(l.window), len(l.recent)}; got != want {
			c.Errorf("%+v: layer %d has the parts %v after %d tokens, want %v", c.plan, i, got, c.want.read, want)
		}
		if !slices.Equal(c.got[i].rows, l.stored()) || !slices.Equal(c.got[i].memories, l.memories) {
			c.Errorf("%+v: layer %d stores %v and wrote %v after %d tokens, want %v and %v", c.plan, i, c.got[i].rows, c.got[i].memories, c.want.read, l.stored(), l.memories)
		}
		written, evicted = max(written, len(l.memories)), evicted || len(l.slots)+len(l.memories) > 0
		for place, x := range l.stored() {
			if got, want := c.plan.Position(place, x.index), map[bool]int{false: place, true: x.index}[c.plan.Absolute]; got != want {
				c.Errorf("position %d, want %d", got, want)
			}
		}
	}
	if c.s.Written() != written || c.s.Evicted() != evicted || c.s.Seen() != c.want.read || c.s.Held() != c.want.held {
		c.Errorf("%+v: written %d, evicted %v, read %d, held %v; want %d, %v, %d, %v", c.plan,
			c.s.Written(), c.s.Evicted(), c.s.Seen(), c.s.Held(), written, evicted, c.want.read, c.want.held)
	}
	resumed, err := schedule.Resume(c.plan, c.s.Seen(), c.s.Parts(0).Recent, c.s.Held())
	if err != nil || resumed.Parts(0) != c.s.Parts(0) {
		c.Errorf("resumed: %v", err)
	}
}

// TestVisible counts the places that a query sees one by one.
func TestVisible(t *testing.T) {
	for place := range 9 {
		for sliding := range 12 {
			var want []int
			for p := range place + 1 {
				if sliding == 0 || place-p < sliding {
					want = append(want, p)
				}
			}
			if from, to := schedule.Visible(place, sliding); from != want[0] || to != want[len(want)-1]+1 {
				t.Errorf("place %d with a window of %d: %d to %d, want %v", place, sliding, from, to, want)
			}
		}
	}
}

// TestTransferPosition: with compact positions new tokens have those that a stream without
// slots gives them, sinks theirs, and all but sinks the distances of the text; absolute
// ones are indices.
func TestTransferPosition(t *testing.T) {
	p := schedule.Plan{Layers: []schedule.Sizes{{Sink: 2, Slots: 4, Window: 5, Segment: 3}}, Soft: true}
	bare := schedule.Plan{Layers: []schedule.Sizes{{Sink: 2, Window: 5, Segment: 3}}}
	s := schedule.New(bare)
	s.Begin(30)
	for first := 0; first < 30; first += 3 {
		s.Next()
		for i := range first + 3 {
			got := p.TransferPosition(0, first, i)
			want := s.Position(0) + i - first
			if i < 2 {
				want = i
			}
			if got != want {
				t.Errorf("segment from %d: token %d has position %d, want %d", first, i, got, want)
			}
			p.Absolute = true
			if got := p.TransferPosition(0, first, i); got != i {
				t.Errorf("segment from %d: token %d has the absolute position %d", first, i, got)
			}
			p.Absolute = false
		}
		s.Advance(3)
		for s.Due() {
			s.Commit()
		}
	}
}

func TestResumeRefuses(t *testing.T) {
	p := schedule.Plan{Layers: []schedule.Sizes{{Sink: 1, Slots: 2, Window: 3, Segment: 4}}}
	for _, tc := range []struct {
		read, recent int
		held         bool
		want         string
	}{
		{-1, 0, false, "-1 tokens were read; want 0 to"},
		{2 * schedule.Unbounded, 0, false, "tokens were read; want 0 to"},
		{8, -1, false, "-1 tokens are not committed; want 0 to 3"},
		{8, 4, false, "4 tokens are not committed; want 0 to 3"},
		{2, 3, false, "3 tokens are not committed; want 0 to 2"},
		{9, 9, true, "9 tokens are not committed; want 0 to 8"},
		{8, 4, true, "a prompt of 8 tokens is held, but 4 are not committed; want all"},
		{9, 2, false, "7 tokens are committed; want whole segments of 4"},
	} {
		if _, err := schedule.Resume(p, tc.read, tc.recent, tc.held); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: error %v, want %q", tc, err, tc.want)
		}
	}
	if s, err := schedule.Resume(p, 8, 8, true); err != nil || s.Parts(0).Recent != 8 {
		t.Error(err)
	}
}

// TestFirstLive: the token before the first one to be learned predicts it.
func TestFirstLive(t *testing.T) {
	for learned, want := range map[int]int{1: 0, 255: 0, 256: 0, 257: 1, 512: 1, 513: 2} {
		if got := schedule.FirstLive(learned, 256); got != want {
			t.Errorf("the first learned token is %d: segment %d, want %d", learned, got, want)
		}
	}
}

package schedule

import (
	"cmp"
	"fmt"
	"slices"
)

// Unbounded is a number of tokens that no text has.
const Unbounded = 1 << 40

// Sizes are the sizes of what a layer stores, in tokens.
type Sizes struct {
	Sink    int // S
	Slots   int // R
	Window  int // W
	Segment int // L
}

// Capacity returns C = S+R+W+L, the most tokens that are stored.
func (s Sizes) Capacity() int { return s.Sink + s.Slots + s.Window + s.Segment }

// Short returns the length of the longest text of which no token leaves the window before
// its end, S+W+L.
func (s Sizes) Short() int { return s.Sink + s.Window + s.Segment }

// Plan is what the schedule of a text depends on, beside the text's length.
type Plan struct {
	// Layers are the sizes of each layer, all with the same Segment.
	Layers []Sizes
	// Absolute positions are indices in the text; else positions are places.
	Absolute bool
	// Soft slots keep every token that left the window, in the layers that have slots.
	Soft bool
	// Routing holds short prompts back.
	Routing bool
}

// Parts counts what a layer stores, in the order in which it is stored, and the tokens
// that have left the window until now, which are in the slots or no longer stored.
type Parts struct {
	Sinks, Slots, Window, Recent int
	Left                         int
}

// Stored returns the number of stored tokens.
func (p Parts) Stored() int { return p.Sinks + p.Slots + p.Window + p.Recent }

// Parts returns those of a layer when so many tokens of the text are read, and so many
// of them committed.
func (p Plan) Parts(layer, read, committed int) Parts {
	s := p.Layers[layer]
	var out Parts
	out.Sinks = min(s.Sink, committed)
	out.Window = min(s.Window, committed-out.Sinks)
	out.Left = committed - out.Sinks - out.Window
	out.Slots = min(s.Slots, out.Left)
	if p.storesAll(layer) {
		out.Slots = out.Left
	}
	out.Recent = read - committed
	return out
}

func (p Plan) storesAll(layer int) bool { return p.Soft && p.Layers[layer].Slots > 0 }

// written returns how many tokens were written to the memory of a layer with these parts.
func (p Plan) written(layer int, parts Parts) int {
	if p.storesAll(layer) {
		return parts.Left
	}
	return parts.Left - parts.Slots
}

// capacity returns the most tokens that a layer stores.
func (p Plan) capacity(layer int) int {
	if p.storesAll(layer) {
		return Unbounded
	}
	return p.Layers[layer].Capacity()
}

// Segment returns L.
func (p Plan) Segment() int { return p.Layers[0].Segment }

// short returns the length of the longest prompt of which no layer would lose a token.
func (p Plan) short() int {
	n := Unbounded
	for _, s := range p.Layers {
		n = min(n, s.Short())
	}
	return n
}

// Position returns the rotary position of the token at a place, which has the given
// index in the text.
func (p Plan) Position(place, index int) int {
	if p.Absolute {
		return index
	}
	return place
}

// TransferPosition returns the rotary position of a token for the segment that begins
// with the first-th token of the text, in attention transfer, which shows a segment all
// tokens before it. With compact positions sinks are at their places and the segment
// follows sinks and window; every other token is at the distance from it that it has in
// the text, below 0 if need be: which slots will lie between them is not known.
func (p Plan) TransferPosition(layer, first, index int) int {
	parts := p.Parts(layer, first, first)
	if index < parts.Sinks {
		return index // place and index agree
	}
	return p.Position(parts.Sinks+parts.Window+index-first, index)
}

// Unevicted is how many tokens of a text whole segments hold until something has left the window:
// until there, all that was read is in sight.
func (s Sizes) Unevicted() int { return ((s.Sink+s.Window)/s.Segment + 1) * s.Segment }

// FirstTransferred is the first segment that attention transfer compares: those before
// it see everything anyway.
const FirstTransferred = 2

// TransferTokens returns the length of the shortest text that attention transfer reads:
// so many whole segments that there is one to compare.
func (s Sizes) TransferTokens() int { return (FirstTransferred + 1) * s.Segment }

// Visible returns the range [from,to) of the places that a query at the given place sees
// in a layer with a sliding window; 0 is no such window.
func Visible(place, sliding int) (from, to int) {
	if sliding > 0 {
		from = max(0, place+1-sliding)
	}
	return from, place + 1
}

// Turnover is what a commit moves in one layer, in places.
type Turnover struct {
	First      int // of the candidates
	Candidates int // slots, and behind them the tokens that leave the window
	Stay       int // how many of the candidates stay
	// Written is how many enter the memory, where there is one: the last ones of the
	// list that Choose makes.
	Written int
	// Stored is how many tokens are stored before the commit. Those behind the candidates
	// move up to the place First+Stay.
	Stored int
	// Committed is c after the commit: where the score of a token decays, the token's age
	// is this number less its index in the text.
	Committed int
}

// Choose fills places, which has room for all candidates, with theirs: first those
// that stay, the ones with the highest rank (ties: the earlier token), then the others,
// both in the order stored. It asks for ranks only where there is a choice.
func (t Turnover) Choose(places []int, rank func(place int) int) (kept, dropped []int) {
	for i := range places {
		places[i] = t.First + i
	}
	kept, dropped = places[:t.Stay], places[t.Stay:]
	if t.Stay == t.Candidates || t.Stay == 0 {
		return kept, dropped
	}
	slices.SortFunc(places, func(a, b int) int { return cmp.Or(rank(b)-rank(a), a-b) })
	slices.Sort(kept)
	slices.Sort(dropped)
	return kept, dropped
}

// Sequence is how far a text has been read. Its methods are called as the package's
// comment says under Reading.
type Sequence struct {
	plan      Plan
	read      int // n
	committed int // c
	coming    int // announced by Begin and not read yet
	held      bool
}

// New starts a text.
func New(p Plan) *Sequence { return &Sequence{plan: p} }

// Resume goes on with a text of which so many tokens were read, the last `recent` of them
// not committed yet. It fails for counts that no sequence reaches.
func Resume(p Plan, read, recent int, held bool) (*Sequence, error) {
	most := p.Segment() - 1
	if held {
		most = p.short()
	}
	switch {
	case read < 0 || read > Unbounded:
		return nil, fmt.Errorf("%d tokens were read; want 0 to %d", read, Unbounded)
	case recent < 0 || recent > min(read, most):
		return nil, fmt.Errorf("%d tokens are not committed; want 0 to %d", recent, min(read, most))
	case held && recent != read:
		return nil, fmt.Errorf("a prompt of %d tokens is held, but %d are not committed; want all", read, recent)
	case (read-recent)%p.Segment() != 0:
		return nil, fmt.Errorf("%d tokens are committed; want whole segments of %d", read-recent, p.Segment())
	}
	return &Sequence{plan: p, read: read, committed: read - recent, held: held}, nil
}

// Clone returns a sequence that goes its own way from here.
func (s *Sequence) Clone() *Sequence {
	c := *s
	return &c
}

// Plan returns the plan.
func (s *Sequence) Plan() Plan { return s.plan }

// Seen returns n, how many tokens have been read.
func (s *Sequence) Seen() int { return s.read }

// Held says whether the prompt is held: it was short, and has not been exceeded.
func (s *Sequence) Held() bool { return s.held }

// Parts returns what a layer stores now.
func (s *Sequence) Parts(layer int) Parts { return s.plan.Parts(layer, s.read, s.committed) }

// Position returns the rotary position of the next token in a layer; those behind it
// follow.
func (s *Sequence) Position(layer int) int {
	return s.plan.Position(s.Parts(layer).Stored(), s.read)
}

// Evicted says whether anything has left the window: the memory is in use.
func (s *Sequence) Evicted() bool {
	for i := range s.plan.Layers {
		if s.Parts(i).Left > 0 {
			return true
		}
	}
	return false
}

// Written returns how many tokens each KV head's memory has taken up, in the layer where
// these are most.
func (s *Sequence) Written() int {
	n := 0
	for i := range s.plan.Layers {
		n = max(n, s.plan.written(i, s.Parts(i)))
	}
	return n
}

// Reach returns the most tokens that a layer will store at once while it reads those that
// Begin has announced.
func (s *Sequence) Reach(layer int) int {
	return min(s.Parts(layer).Stored()+s.coming, s.plan.capacity(layer))
}

// Begin announces tokens: a call that reads n more.
func (s *Sequence) Begin(n int) {
	s.coming = n
	if s.read == 0 {
		s.held = s.plan.Routing && n <= s.plan.short()
	}
}

// Next returns how many tokens the next stretch has, once what is due has been committed.
func (s *Sequence) Next() int {
	short, segment := s.plan.short(), s.plan.Segment()
	if s.held && s.read >= short {
		s.held = false
	}
	if s.held {
		return min(s.coming, segment, short-s.read)
	}
	return min(s.coming, segment-(s.read-s.committed)%segment)
}

// Due says whether a segment has to be committed before another token is read.
func (s *Sequence) Due() bool { return !s.held && s.read-s.committed >= s.plan.Segment() }

// Commit commits a segment and returns what that moves in each layer.
func (s *Sequence) Commit() []Turnover {
	before := s.committed
	s.committed += s.plan.Segment()
	out := make([]Turnover, len(s.plan.Layers))
	for i := range out {
		was, is := s.plan.Parts(i, s.read, before), s.Parts(i)
		out[i] = Turnover{
			First: is.Sinks, Candidates: was.Slots + is.Left - was.Left, Stay: is.Slots,
			Written: s.plan.written(i, is) - s.plan.written(i, was), Stored: was.Stored(), Committed: s.committed,
		}
	}
	return out
}

// Advance notes that a stretch of n tokens has been read.
func (s *Sequence) Advance(n int) {
	s.read += n
	s.coming -= n
}

// FirstLive is the first of a text's segments, from 0, that S-SFT differentiates: that which
// predicts the first token to be learned. The segments before it only stream.
func FirstLive(learned, segment int) int { return (learned - 1) / segment }

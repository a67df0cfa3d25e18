package model

import (
	"cmp"
	"math"
	"slices"

	"eisft/internal/scratch"
)

// State is what a sequence leaves behind: for every layer the keys and values
// of sinks, slots, window and the segment in progress, in this order, and the
// compressive memory (method, section 2). Its size does not depend on the
// length of the sequence, but for soft slots, which keep every token.
type State struct {
	Parts
	Seen    int // tokens read
	Evicted bool
	Layers  []LayerState
}

// Parts counts the stored tokens of each part of a state. They are stored in this
// order; Recent is the segment in progress. Slots are those of the layers that have
// slots, see [Parts.In].
type Parts struct {
	Sinks, Slots, Window, Recent int
}

// LayerState is a layer's part of the State. Rows are tokens; of a row, each
// KV head has its own part, since each chooses its own slots.
type LayerState struct {
	K, V, Rotated []float32 // [n,K·d]: keys before rotary embedding, values, keys after it
	Score         []float32 // [n,K] retention score ρ, or logit of the write gate; nil without either
	Token         []int32   // [n,K] index in the sequence
	Memory        []float32 // [K,F,d+1]: M with z as last column; nil without memory
}

// In returns the parts in a layer with the block s, which may have no slots.
func (p Parts) In(s Spec) Parts {
	if s.Slots == 0 {
		p.Slots = 0
	}
	return p
}

// Stored returns the number of stored tokens, all of which are visible.
func (p Parts) Stored() int { return p.Sinks + p.Slots + p.Window + p.Recent }

// Turnover is what the end of a segment moves: the slots and, behind them, the
// tokens that leave the window are candidates for the slots, which keep some.
type Turnover struct {
	First      int // row of the first candidate
	Leavers    int
	Candidates int
	Keep       int
}

// Commit ends a segment: the first `complete` tokens of the segment in progress
// join sinks and window, and what falls out of the window is for at most the
// given number of slots, or for the memory (method, section 4).
func (p Parts) Commit(s Spec, complete, slots int) (Parts, Turnover) {
	added := min(s.Sink-p.Sinks, complete) // before the sinks are full nothing lies between them and the segment
	pool := p.Window + complete - added
	t := Turnover{First: p.Sinks + added, Leavers: max(0, pool-s.Window)}
	t.Candidates = p.Slots + t.Leavers
	t.Keep = min(t.Candidates, slots)
	return Parts{Sinks: t.First, Slots: t.Keep, Window: pool - t.Leavers, Recent: p.Recent - complete}, t
}

func newState(s Spec, d Dims, layers int) *State {
	st := &State{Layers: make([]LayerState, layers)}
	if s.HasMemory() {
		for i := range st.Layers {
			st.Layers[i].Memory = make([]float32, Memory{s, d}.Size())
		}
	}
	return st
}

// resize gives every row array the length n, and when it has to move room for more.
func (l *LayerState) resize(n, room int, s Spec, d Dims) {
	kv := d.KVHeads * d.HeadDim
	l.K, l.V, l.Rotated = grown(l.K, n*kv, room*kv), grown(l.V, n*kv, room*kv), grown(l.Rotated, n*kv, room*kv)
	l.Token = grown(l.Token, n*d.KVHeads, room*d.KVHeads)
	if s.HasScore() {
		l.Score = grown(l.Score, n*d.KVHeads, room*d.KVHeads)
	}
}

// grown returns x with length n, what was there kept. If it has to be moved, it
// gets room for at least the given number.
func grown[T any](x []T, n, room int) []T {
	if n > cap(x) {
		x = slices.Grow(x, max(n, room)-len(x))
	}
	return x[:n]
}

// commit ends a segment of `complete` tokens.
func (st *Stream) commit(complete int) {
	s := st.State
	next, turnover := st.turnover(s.Parts, st.model.Spec, complete)
	for i := range s.Layers {
		_, own := st.turnover(st.parts(i), st.model.Spec.At(i), complete)
		st.commitLayer(i, own, st.parts(i).Stored())
	}
	s.Parts = next
	s.Evicted = s.Evicted || turnover.Leavers > 0
	for i := range s.Layers {
		st.rotateStored(i)
	}
}

// turnover is Parts.Commit with as many slots as the stream has.
func (st *Stream) turnover(p Parts, s Spec, complete int) (Parts, Turnover) {
	slots := s.Slots
	if st.options.Soft && slots > 0 {
		slots = unbounded
	}
	return p.Commit(s, complete, slots)
}

// commitLayer chooses which of the candidates (slots, then leavers) stay,
// writes the others to the memory and closes the gaps.
func (st *Stream) commitLayer(i int, t Turnover, stored int) {
	l, d, first, n := &st.State.Layers[i], st.model.Base.Dims, t.First, t.Candidates
	st.choice = grown(st.choice[:0], d.KVHeads*n, 0)
	for g := range d.KVHeads {
		t.Choose(st.choice[g*n:(g+1)*n], func(row int) float32 { return l.Score[row*d.KVHeads+g] })
	}
	if st.options.Soft && l.Score != nil { // every leaver stays visible and is written, each by its weight
		st.write(i, n, t.Leavers)
	} else {
		st.write(i, n, n-t.Keep)
	}
	if t.Keep == n {
		return
	}
	for g := range d.KVHeads {
		for j, r := range st.choice[g*n : g*n+t.Keep] {
			l.moveHead(first+j, r, g, d)
		}
	}
	l.moveRows(first+t.Keep, first+n, stored, d)
}

// Choose fills rows [Candidates] with the rows of the candidates: first the Keep
// with the highest score (ties: the earlier token), then the others, both in
// temporal order. It asks for scores only where there is a choice.
func (t Turnover) Choose(rows []int, score func(row int) float32) (kept, dropped []int) {
	for i := range rows {
		rows[i] = t.First + i
	}
	kept, dropped = rows[:t.Keep], rows[t.Keep:]
	if t.Keep == t.Candidates || t.Keep == 0 {
		return kept, dropped
	}
	slices.SortFunc(rows, func(a, b int) int { return cmp.Or(cmp.Compare(rank(score(b)), rank(score(a))), a-b) })
	slices.Sort(kept)
	slices.Sort(dropped)
	return kept, dropped
}

// rank is what scores are compared by. The first layer's scores of the same
// token at two places are equal but for their last bits, which depend on how
// many rows were multiplied at once and on the machine; rounded to a thousandth
// they are ties, which fall the same way everywhere.
func rank(score float32) float32 { return float32(math.RoundToEven(float64(score) * 1024)) }

// write writes the last `count` of the n rows chosen for each KV head to layer
// i's memory.
func (st *Stream) write(i, n, count int) {
	spec, d, l := st.model.Spec, st.model.Base.Dims, &st.State.Layers[i]
	if !spec.HasMemory() || count == 0 {
		return
	}
	w := st.gather(l, n, count)
	defer scratch.Release(w.Keys, w.Values, w.Score)
	if st.options.Tape != nil {
		st.options.Tape.Write(i, w, st.written, l.Memory)
	}
	Memory{spec, d}.Write(l.Memory, w, dataOf(st.model.Params.Layers[i].FeatureK))
}

// gather copies these rows of each KV head side by side, with what decides
// their weight, and puts their indices in the sequence into st.written.
func (st *Stream) gather(l *LayerState, n, count int) Written {
	d := st.model.Base.Dims
	kv, hd := d.KVHeads, d.HeadDim
	w := Written{Keys: scratch.Borrow(count * kv * hd), Values: scratch.Borrow(count * kv * hd), Rows: count, Sign: st.model.Spec.ScoreSign()}
	if l.Score != nil {
		w.Score = scratch.Borrow(count * kv)
	}
	st.written = grown(st.written[:0], count*kv, 0)
	for g := range kv {
		for t, r := range st.choice[(g+1)*n-count : (g+1)*n] {
			from, to := r*kv+g, t*kv+g
			copy(w.Keys[to*hd:(to+1)*hd], l.K[from*hd:])
			copy(w.Values[to*hd:(to+1)*hd], l.V[from*hd:])
			if l.Score != nil {
				w.Score[to] = l.Score[from]
			}
			st.written[to] = l.Token[from]
		}
	}
	return w
}

// moveHead moves KV head g's part of a row; to is at most from.
func (l *LayerState) moveHead(to, from, g int, d Dims) {
	a, b, n := (to*d.KVHeads+g)*d.HeadDim, (from*d.KVHeads+g)*d.HeadDim, d.HeadDim
	for _, x := range [][]float32{l.K, l.V, l.Rotated} {
		copy(x[a:a+n], x[b:b+n])
	}
	a, b = to*d.KVHeads+g, from*d.KVHeads+g
	l.Token[a] = l.Token[b]
	if l.Score != nil {
		l.Score[a] = l.Score[b]
	}
}

// moveRows moves rows [from,end) to `to`, which is at most from.
func (l *LayerState) moveRows(to, from, end int, d Dims) {
	shift := func(x []float32, w int) {
		if x != nil {
			copy(x[to*w:], x[from*w:end*w])
		}
	}
	w := d.KVHeads * d.HeadDim
	shift(l.K, w)
	shift(l.V, w)
	shift(l.Rotated, w)
	shift(l.Score, d.KVHeads)
	copy(l.Token[to*d.KVHeads:], l.Token[from*d.KVHeads:end*d.KVHeads])
}

// rotateStored gives layer i's stored keys their new places when positions are
// compact; with absolute ones a key's rotation never changes.
func (st *Stream) rotateStored(i int) {
	if st.model.Spec.Positions == PositionsAbsolute {
		return
	}
	l, d, from, to := &st.State.Layers[i], st.model.Base.Dims, st.State.Sinks, st.parts(i).Stored()
	w := d.KVHeads * d.HeadDim
	cos, sin := st.model.Base.Layers[i].Rotary.Range(from, to)
	RotateRows(l.Rotated[from*w:to*w], l.K[from*w:to*w], to-from, d.KVHeads, d.HeadDim, cos, sin, false)
}

package model

import (
	"slices"

	"eisft/internal/scratch"
	"eisft/model/schedule"
)

// State is what a sequence leaves behind: for every layer the keys and values
// of sinks, slots, window and the segment in progress, in this order, and the
// compressive memory (docs/method.md, section 2). Its size does not depend on the
// length of the sequence, but for soft slots, which keep every token.
type State struct {
	*schedule.Sequence // how much of the sequence is read and what of it is stored where
	Layers             []LayerState
}

// LayerState is a layer's part of the State. Rows are tokens; of a row, each
// KV head has its own part, since each chooses its own slots.
type LayerState struct {
	K, V, Rotated Rows // keys before rotary embedding, values, keys after it
	// Score [n,K] is the retention score ρ, the logit of the write gate, or the attention
	// that an eviction has watched; nil without any.
	Score   []float32
	Token   []int32   // [n,K] index in the sequence
	Memory  []float32 // [K,F,d+1]: M with z as last column; nil without memory
	Queries []float32 // [H,d+1,d]: mean and covariance of queries, if an eviction asks for them
}

// newState is a state without tokens, for a stream with the options.
func newState(m *Model, q *schedule.Sequence, o StreamOptions) *State {
	st := &State{Sequence: q, Layers: make([]LayerState, len(m.Base.Layers))}
	for i := range st.Layers {
		// What records a pass wants all rows side by side, and what decorates it adds up those of a
		// sliding window from where that begins.
		grows := m.Spec.Window == schedule.Unbounded && o.Tape == nil && (o.Wrap == nil || m.Base.Layers[i].SlidingWindow == 0)
		for _, r := range []*Rows{&st.Layers[i].K, &st.Layers[i].V, &st.Layers[i].Rotated} {
			*r = newRows(o.Cache, m.Base.Dims, grows)
		}
	}
	if m.Spec.HasMemory() {
		for i := range st.Layers {
			st.Layers[i].Memory = make([]float32, Memory{m.Spec, m.Base.Dims}.Size())
		}
	}
	if m.Eviction != nil && m.Eviction.QueryMoments {
		for i := range st.Layers {
			st.Layers[i].Queries = make([]float32, m.Base.Dims.MomentsSize())
		}
	}
	return st
}

// resize gives every row array the length n, and when it has to move room for more.
func (l *LayerState) resize(n, room int, s Spec, d Dims) {
	l.K.resize(n, room)
	l.V.resize(n, room)
	l.Rotated.resize(n, room)
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

// commitLayer chooses which of the candidates (slots, then leavers) stay,
// writes what is for the memory and closes the gaps.
func (f *floats) commitLayer(i int, t schedule.Turnover) {
	l, d, first, n := &f.state.Layers[i], f.model.Base.Dims, t.First, t.Candidates
	f.choice = grown(f.choice[:0], d.KVHeads*n, 0)
	rank := f.ranker(i, t)
	for g := range d.KVHeads {
		t.Choose(f.choice[g*n:(g+1)*n], func(row int) int { return rank(row, g) })
	}
	f.write(i, t)
	if t.Stay == n {
		return
	}
	for g := range d.KVHeads {
		for j, r := range f.choice[g*n : g*n+t.Stay] {
			l.moveHead(first+j, r, g, d)
		}
	}
	l.moveRows(first+t.Stay, first+n, t.Stored, d)
}

// write writes the last t.Written of the rows chosen for each KV head to layer i's memory.
func (f *floats) write(i int, t schedule.Turnover) {
	spec, d, l := f.model.Spec, f.model.Base.Dims, &f.state.Layers[i]
	if !spec.HasMemory() || t.Written == 0 {
		return
	}
	w := f.gather(l, t.Candidates, t.Written)
	defer scratch.Release(w.Keys, w.Values, w.Score)
	if spec.At(i).Decays() {
		w.Age = Ages(t.Committed, f.written)
	}
	if f.options.Tape != nil {
		f.options.Tape.Write(i, w, f.written, l.Memory)
	}
	Memory{spec, d}.Write(l.Memory, w, dataOf(f.model.Params.Layers[i].FeatureK))
}

// gather copies these rows of each KV head side by side, with what decides
// their weight, and puts their indices in the sequence into f.written.
func (f *floats) gather(l *LayerState, n, count int) Written {
	d := f.model.Base.Dims
	kv, hd := d.KVHeads, d.HeadDim
	w := Written{Keys: scratch.Borrow(count * kv * hd), Values: scratch.Borrow(count * kv * hd), Rows: count, Sign: f.model.Spec.ScoreSign()}
	if l.Score != nil {
		w.Score = scratch.Borrow(count * kv)
	}
	f.written = grown(f.written[:0], count*kv, 0)
	for g := range kv {
		for t, r := range f.choice[(g+1)*n-count : (g+1)*n] {
			from, to := r*kv+g, t*kv+g
			l.K.Head(w.Keys[to*hd:(to+1)*hd], r, g)
			l.V.Head(w.Values[to*hd:(to+1)*hd], r, g)
			if l.Score != nil {
				w.Score[to] = l.Score[from]
			}
			f.written[to] = l.Token[from]
		}
	}
	return w
}

// moveHead moves KV head g's part of a row; to is at most from.
func (l *LayerState) moveHead(to, from, g int, d Dims) {
	l.K.moveHead(to, from, g)
	l.V.moveHead(to, from, g)
	l.Rotated.moveHead(to, from, g)
	a, b := to*d.KVHeads+g, from*d.KVHeads+g
	l.Token[a] = l.Token[b]
	if l.Score != nil {
		l.Score[a] = l.Score[b]
	}
}

// moveRows moves rows [from,end) to `to`, which is at most from.
func (l *LayerState) moveRows(to, from, end int, d Dims) {
	l.K.moveRows(to, from, end)
	l.V.moveRows(to, from, end)
	l.Rotated.moveRows(to, from, end)
	if l.Score != nil {
		copy(l.Score[to*d.KVHeads:], l.Score[from*d.KVHeads:end*d.KVHeads])
	}
	copy(l.Token[to*d.KVHeads:], l.Token[from*d.KVHeads:end*d.KVHeads])
}

// rotateStored gives layer i's stored keys their new positions, where a commit changes
// them: sinks stay where they are.
func (f *floats) rotateStored(i int, t schedule.Turnover) {
	if f.state.Plan().Absolute {
		return
	}
	from, to, layer := t.First, t.Stored-(t.Candidates-t.Stay), f.model.Base.Layers[i]
	cos, sin := layer.Rotary.Range(from, to)
	f.turnStored(layer, from, to, cos, sin)
}

// turnStored computes rows [from,to) of a layer's keys after rotary embedding from those before it.
func (f *floats) turnStored(layer *Layer, from, to int, cos, sin []float32) {
	l := &f.state.Layers[layer.Index]
	k := l.K.borrow(from, to)
	turned := scratch.Borrow(len(k))
	f.turnKeys(layer, turned, k, to-from, cos, sin)
	l.Rotated.Put(from, turned)
	scratch.Release(k, turned)
}

package model

import "slices"

// Clone returns a stream that has read what st has and goes its own way from
// there. Tape and Wrap of its options are the same as those of st.
func (st *Stream) Clone() *Stream {
	return st.model.newStream(st.options, st.State.clone(st.model.Base.Dims))
}

// clone copies the stored rows and the memory.
func (s *State) clone(d Dims) *State {
	c := &State{Sequence: s.Sequence.Clone(), Layers: slices.Clone(s.Layers)}
	for i := range c.Layers {
		l := &c.Layers[i]
		l.trim(s.Parts(i).Stored(), d)
		l.K, l.V, l.Rotated = l.K.clone(), l.V.clone(), l.Rotated.clone()
		l.Score, l.Token, l.Memory = slices.Clone(l.Score), slices.Clone(l.Token), slices.Clone(l.Memory)
		l.Queries = slices.Clone(l.Queries)
	}
	return c
}

// trim cuts the row arrays to n rows: behind them lies what commit has left.
func (l *LayerState) trim(n int, d Dims) {
	l.K.n, l.V.n, l.Rotated.n = n, n, n
	l.Token = l.Token[:n*d.KVHeads]
	if l.Score != nil {
		l.Score = l.Score[:n*d.KVHeads]
	}
}

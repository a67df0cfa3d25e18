package model

// Sight is what the queries of some consecutive new tokens of a stretch see: what a
// decorator needs (see [Wrap]) that carries attention out itself.
type Sight struct {
	// Attention has the number of tokens before the first of the queries' in Past, and their
	// rotary tables.
	Attention
	// Keys (after rotary embedding) and Values are those of the n stored tokens and of all of
	// the stretch's, [n,K·d].
	Keys, Values []float32
	// Bias [K,N] is added to the logits of the N stored tokens from row SlotAt on; nil: nothing.
	Bias []float32
	// Written is the number of tokens that the memory of the layer that has most has taken up.
	Written int
}

// Visible returns the range [from,to) of the keys that the t-th of the queries' tokens sees.
func (s *Sight) Visible(t int) (from, to int) { return s.visible(t) }

// Seer is the slice backend of a stream for a decorator: See may be called within Attend,
// with the layer that Attend was called with.
type Seer interface{ See(l *Layer) Sight }

// See implements [Seer].
func (e *eager) See(l *Layer) Sight {
	s := &e.state.Layers[l.Index]
	a := e.attentionOf(l)
	return Sight{Attention: a, Keys: s.Rotated.Floats(), Values: s.V.Floats(), Bias: a.bias(), Written: e.state.Written()}
}

// KeyTurner is a decorator that turns keys itself: those of new tokens, and the stored ones
// that a commit has moved. It writes the rows k [n,K·d] of a layer after rotary embedding,
// by the tables [n,m] of their positions.
type KeyTurner interface {
	TurnKeys(l *Layer, dst, k []float32, rows int, cos, sin []float32)
}

// turnKeys turns keys of a layer as the backend's decorator does, if it does.
func (f *floats) turnKeys(l *Layer, dst, k []float32, rows int, cos, sin []float32) {
	if rows == 0 {
		return
	}
	if t, ok := f.wrapped(&eager{floats: f}).(KeyTurner); ok {
		t.TurnKeys(l, dst, k, rows, cos, sin)
		return
	}
	RotateRows(dst, k, rows, f.model.Base.Dims.KVHeads, f.model.Base.Dims.HeadDim, cos, sin, false)
}

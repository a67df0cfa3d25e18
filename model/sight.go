package model

// Sight is what the queries of some consecutive new tokens of a stretch see: what a
// decorator needs (see [Wrap]) that carries attention out itself.
type Sight struct {
	// Attention has the number of tokens before the first of the queries' in Past, and their
	// rotary tables.
	Attention
	// Parts are the stored tokens and all of the stretch's, one part behind the other.
	Parts []SightPart
	// Bias [K,N] is added to the logits of the N stored tokens from row SlotAt on; nil: nothing.
	Bias []float32
	// Written is the number of tokens that the memory of the layer that has most has taken up.
	Written int
}

// SightPart are n tokens side by side, of which the first is in row First: keys (after rotary
// embedding) and values [n,K·d].
type SightPart struct {
	First        int
	Keys, Values []float32
}

// partsOf returns the parts of a layer: one for each chunk that has floats.
func partsOf(l *LayerState) []SightPart {
	if l.V.cache != CacheFloat32 {
		return []SightPart{{Keys: l.Rotated.Floats(), Values: l.V.Floats()}}
	}
	var parts []SightPart
	width := l.V.heads * l.V.dim
	for i, c := range l.V.chunks { // keys have the same ones
		if n := min(c.room, l.V.n-c.first); n > 0 {
			parts = append(parts, SightPart{c.first, l.Rotated.chunks[i].floats[:n*width], c.floats[:n*width]})
		}
	}
	return parts
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
	return Sight{Attention: a, Parts: partsOf(s), Bias: a.bias(), Written: e.state.Written()}
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

package model

import (
	"eisft/internal/scratch"
	"eisft/model/kernels"
	"eisft/model/schedule"
)

// floats is the backend of a [Stream]. Blocks of rows go through the layers side by
// side, each on one core.
type floats struct {
	model   *Model
	options StreamOptions
	state   *State
	*stretch

	// Working memory of a commit.
	choice  []int   // [K, Candidates], see schedule.Turnover.Choose
	written []int32 // [m,K] indices in the sequence of what enters the memory
}

// stretch is what the tokens that are read at once share.
type stretch struct {
	wanted int       // the first row whose output the last layer computes
	x      []float32 // hidden states [T,D] between two layers
	blocks []*eager
	tables map[place]angles
	normed []float32 // a layer's normed input [T,D], if a tape wants it

	// Of the layer whose queries wait for attention:
	attention Attention
	keys      visibleKeys
}

// rowBlock is how many rows go through a layer together: enough for products to be
// efficient, few enough for what they compute to stay in a core's cache.
const rowBlock = 64

// Rows calls f for blocks of n rows, side by side, with the slice backend of rows [lo,hi), of
// which the first-th of a sequence is row 0, as w (nil: not at all) decorates it. Nothing is
// known of other tokens: of a layer's steps there are those before Remember and behind the
// attention. They have the bits that they have in a stream.
func (m *Model) Rows(n, first int, w Wrap, f func(o Ops[[]float32], lo, hi int)) {
	height := rowBlock
	if !m.Base.copiesForward() { // to convert weights half as often
		height *= 2
	}
	kernels.Each((n+height-1)/height, func(i int) {
		lo := i * height
		e := &eager{floats: &floats{model: m, options: StreamOptions{Wrap: w}}, first: lo, rows: min(height, n-lo)}
		defer e.release()
		var o Ops[[]float32] = e
		if w != nil {
			o = w(e, first+lo)
		}
		f(o, lo, lo+e.rows)
	})
}

// Begin implements [Backend].
func (f *floats) Begin(ids []int32, wanted int) ([]Block[[]float32], error) {
	base, rows, d := f.model.Base, len(ids), f.model.Base.Dims.Hidden
	f.stretch = &stretch{wanted: wanted, x: scratch.Borrow(rows * d), tables: map[place]angles{}}
	if err := f.embed(ids); err != nil {
		return nil, err
	}
	if f.options.Tape != nil {
		f.normed = scratch.Borrow(rows * d)
	}
	for i, l := range base.Layers {
		f.state.Layers[i].resize(f.past(i)+rows, f.state.Reach(i), f.model.Spec.At(i), base.Dims)
		at := f.place(i)
		if _, ok := f.tables[at]; !ok {
			cos, sin := l.Rotary.Range(at.position, at.position+rows)
			f.tables[at] = angles{cos, sin, len(l.Rotary.InvFreq)}
		}
	}
	height := rows
	if base.copiesForward() { // else each block would convert all weights
		height = rowBlock
	}
	var blocks []Block[[]float32]
	for first := 0; first < rows; first += height {
		e := &eager{floats: f, first: first, rows: min(height, rows-first)}
		f.blocks = append(f.blocks, e)
		blocks = append(blocks, Block[[]float32]{Ops: f.wrapped(e), X: f.x[first*d : (first+e.rows)*d], Unwanted: first+e.rows <= wanted})
	}
	return blocks, nil
}

// embed fills the hidden states before the first layer.
func (f *floats) embed(ids []int32) error {
	if f.options.Embed != nil {
		return f.options.Embed(f.x, ids)
	}
	f.model.Base.embed(f.x, ids)
	return nil
}

// wrapped is a block's backend as the options decorate it.
func (f *floats) wrapped(e *eager) Ops[[]float32] {
	if f.options.Wrap == nil {
		return e
	}
	return f.options.Wrap(e, f.state.Seen()+e.first)
}

// past returns how many tokens layer i has stored before the stretch.
func (f *floats) past(i int) int { return f.state.Parts(i).Stored() }

// Each implements [Backend].
func (f *floats) Each(n int, each func(block int)) { kernels.Each(n, each) }

// Carry implements [Backend].
func (f *floats) Carry(block int, x []float32) []float32 {
	e, d := f.blocks[block], f.model.Base.Dims.Hidden
	kept := f.x[e.first*d : (e.first+e.rows)*d]
	copy(kept, x)
	e.release()
	return kept
}

// Meet implements [Backend]: it prepares the attention of the layer.
func (f *floats) Meet(layer *Layer, queries [][]float32) {
	f.keys.release()
	i := layer.Index
	l, past := &f.state.Layers[i], f.pastOf(layer)
	if tape := f.options.Tape; tape != nil {
		tape.Layer(i, f.x, past)
		tape.Remember(i, f.normed)
	}
	rows := len(f.x) / f.model.Base.Dims.Hidden
	f.attention = past.Attention
	f.keys = f.attention.prepare(&l.Rotated, &l.V, f.past(i)+rows, rows)
	f.watch(layer, queries)
}

// End implements [Backend].
func (f *floats) End(_ []Block[[]float32], emit func(hidden []float32) error) (err error) {
	base, d := f.model.Base, f.model.Base.Dims.Hidden
	out := f.x[f.wanted*d:]
	if f.options.Tape != nil && len(out) > 0 {
		f.options.Tape.Output(out)
	}
	if base.Norm != nil { // see Model.Alone
		base.Norm.Apply(out, out)
	}
	if emit != nil {
		err = emit(out)
	}
	f.keys.release()
	scratch.Release(f.x, f.normed)
	f.stretch = nil
	return err
}

// Logits implements [Backend]; what decorates the backend may change the hidden states.
func (f *floats) Logits(dst, hidden []float32) {
	rows := len(hidden) / f.model.Base.Dims.Hidden
	e := &eager{floats: f, rows: rows, logits: dst[:rows*f.model.Base.Head.Out]}
	if y := f.wrapped(e).Linear(f.model.Base.Head, hidden); &y[0] != &dst[0] { // a decorator has made others
		copy(dst, y)
	}
	e.release()
	f.model.Base.FinishLogits(dst)
}

// pastOf describes what a layer sees.
func (f *floats) pastOf(layer *Layer) Past {
	i, d := layer.Index, f.model.Base.Dims
	l, parts, a := &f.state.Layers[i], f.state.Parts(i), f.tables[f.place(i)]
	stored := parts.Stored()
	p := Past{Attention: Attention{
		Dims: d, Scale: layer.AttentionScale, Softcap: layer.AttentionSoftcap, Past: stored, First: f.state.Seen(),
		SlotAt: parts.Sinks, Soft: f.options.Soft, SlidingWindow: layer.SlidingWindow, Cos: a.cos, Sin: a.sin,
		QueryWeight: layer.QueryWeight,
	}}
	if f.options.Tape != nil { // all others find them in the state
		w := stored * d.KVHeads * d.HeadDim
		p.Attention.PastK, p.Attention.PastV = l.Rotated.Floats()[:w], l.V.Floats()[:w]
	}
	if l.Score != nil && f.model.Spec.Slots > 0 {
		from, to := parts.Sinks*d.KVHeads, (parts.Sinks+parts.Slots)*d.KVHeads
		p.Attention.Score, p.Attention.Token, p.Attention.Decay = l.Score[from:to], l.Token[from:to], f.model.Spec.Decays()
	}
	if f.state.Evicted() {
		p.Memory = l.Memory
	}
	return p
}

// place is what the rotary tables of new tokens depend on.
type place struct {
	rotary   *Rotary
	position int // of the first token
}

// place returns that of layer i.
func (f *floats) place(i int) place { return place{f.model.Base.Layers[i].Rotary, f.state.Position(i)} }

// angles are rotary tables, [n,m] each.
type angles struct {
	cos, sin []float32
	m        int
}

// from returns the tables of n tokens from the i-th one on.
func (a angles) from(i, n int) (cos, sin []float32) {
	return a.cos[i*a.m : (i+n)*a.m], a.sin[i*a.m : (i+n)*a.m]
}

// Commit implements [Backend].
func (f *floats) Commit(layers []schedule.Turnover) {
	for i, t := range layers {
		f.commitLayer(i, t)
		f.rotateStored(i, t)
	}
}

package model

import (
	"fmt"
	"math"
	"slices"

	"eisft/internal/scratch"
	"eisft/model/kernels"
	"eisft/model/schedule"
)

// Eviction is a rule that says which tokens keep the slots, in the place of a trained
// retention score: a score that is asked for at every commit, and what it needs to know of
// the tokens read until then. It is read-only: any number of streams may go by it.
type Eviction struct {
	// Name tells rules apart where a state is saved, with what they depend on.
	Name string
	// Slots are the numbers of slots of each layer.
	Slots []int
	// Watched says of how many queries at the end of each segment the attention weights are
	// summed up for each key, see [Candidates.Attention]; 0: of none.
	Watched int
	// Accumulate sums up over all segments; else each segment's watched queries begin anew.
	Accumulate bool
	// QueryMoments keeps mean and covariance of the queries, see [Candidates.Queries].
	QueryMoments bool
	// Score writes a score for each candidate and KV head [Candidates,K]: those with the
	// highest stay (ties: the earlier token). It is asked only where there is a choice.
	Score func(dst []float32, c Candidates)
}

// Candidates are the tokens of a layer among which a commit chooses, and all that is
// stored beside them.
type Candidates struct {
	schedule.Turnover
	Dims  Dims
	Layer *Layer
	// Keys (after rotary embedding) and Values are those of all n = Stored tokens, [n,K·d].
	// Token [n,K] are the tokens' indices in the sequence.
	Keys, Values []float32
	Token        []int32
	// Attention [n,K] is the attention weight that each key has had from the watched
	// queries, summed over them and over the query heads of the KV head. It moves with the
	// token.
	Attention []float32
	// Queries [H,d+1,d] are for each query head the mean of its queries before rotary
	// embedding (first row), and their covariance. Those of sinks are left out.
	Queries []float32
	// Position is the rotary position of the next token, if nothing moved.
	Position int
}

// NewEvicting returns the model that reads with the sinks, window and segments of s, no
// memory, and in each layer as many slots as e has for it, which e chooses the tokens of.
func NewEvicting(b *Base, s Spec, e *Eviction) (*Model, error) {
	if len(e.Slots) != len(b.Layers) {
		return nil, fmt.Errorf("eviction %s: slots for %d layers, but the base has %d", e.Name, len(e.Slots), len(b.Layers))
	}
	s = WindowOnly(s)
	if s.Slots = slices.Max(e.Slots); s.Slots == 0 || slices.Min(e.Slots) < 0 {
		return nil, fmt.Errorf("eviction %s: slots %v; at least one layer must have some", e.Name, e.Slots)
	}
	m, err := New(b, s, &Params{Spec: s, Dims: b.Dims, Layers: make([]LayerParams, len(b.Layers))})
	if err != nil {
		return nil, err
	}
	m.Eviction = e
	return m, nil
}

// Plan is the model's schedule: that of its block, or with the slots of its eviction.
func (m *Model) Plan() schedule.Plan {
	p := m.Spec.Plan(len(m.Base.Layers))
	if m.Eviction != nil {
		for i, n := range m.Eviction.Slots {
			p.Layers[i].Slots = n
		}
	}
	return p
}

// identity is the rule's, for a saved state.
func (e *Eviction) identity() string {
	if e == nil {
		return ""
	}
	return fmt.Sprintf("%s, slots %v", e.Name, e.Slots)
}

// ranker returns what the candidates of a layer are compared by.
func (f *floats) ranker(i int, t schedule.Turnover) func(row, kv int) int {
	l, e, heads := &f.state.Layers[i], f.model.Eviction, f.model.Base.Dims.KVHeads
	if e == nil && f.model.Spec.At(i).Decays() {
		return func(row, kv int) int { return RankAt(l.Score[row*heads+kv], t.Committed-int(l.Token[row*heads+kv])) }
	}
	if e == nil {
		return func(row, kv int) int { return Rank(l.Score[row*heads+kv]) }
	}
	if t.Stay == 0 || t.Stay == t.Candidates {
		return nil
	}
	scores := make([]float32, t.Candidates*heads)
	e.Score(scores, f.candidates(i, t))
	return func(row, kv int) int { return exactRank(scores[(row-t.First)*heads+kv]) }
}

// candidates describes what a commit chooses among.
func (f *floats) candidates(i int, t schedule.Turnover) Candidates {
	l, d := &f.state.Layers[i], f.model.Base.Dims
	w := t.Stored * d.KVHeads * d.HeadDim
	return Candidates{
		Turnover: t, Dims: d, Layer: f.model.Base.Layers[i],
		Keys: l.Rotated.Floats()[:w], Values: l.V.Floats()[:w], Token: l.Token[:t.Stored*d.KVHeads],
		Attention: l.Score[:t.Stored*d.KVHeads], Queries: l.Queries,
		Position: f.state.Plan().Position(t.Stored, f.state.Seen()),
	}
}

// exactRank is an integer that is larger where the score is, and the lowest for NaN.
func exactRank(score float32) int {
	if score != score {
		return math.MinInt32
	}
	if score < 0 {
		return -int(math.Float32bits(-score))
	}
	return int(math.Float32bits(score))
}

// watch tells the eviction of the stretch's queries q, those of each block before rotary
// embedding. The attention of the layer has been prepared.
func (f *floats) watch(layer *Layer, q [][]float32) {
	e, d, rows := f.model.Eviction, f.model.Base.Dims, len(f.x)/f.model.Base.Dims.Hidden
	if e == nil || e.Watched == 0 && !e.QueryMoments {
		return
	}
	w := d.Heads * d.HeadDim
	all := scratch.Borrow(rows * w)
	defer scratch.Release(all)
	for j, b := range f.blocks {
		copy(all[b.first*w:], q[j][:b.rows*w])
	}
	l := &f.state.Layers[layer.Index]
	if skip := min(max(f.model.Spec.Sink-f.state.Seen(), 0), rows); e.QueryMoments && skip < rows {
		l.addMoments(all[skip*w:rows*w], f.state.Seen()+skip-f.model.Spec.Sink, d)
	}
	if e.Watched > 0 {
		f.watchWeights(layer, all, rows)
	}
}

// watchWeights adds the attention weights of the watched ones of a stretch's queries.
func (f *floats) watchWeights(layer *Layer, q []float32, rows int) {
	e, d, segment := f.model.Eviction, f.model.Base.Dims, f.model.Spec.Segment
	l, w := &f.state.Layers[layer.Index], d.Heads*d.HeadDim
	first := segment - min(e.Watched, segment) // of a segment
	for lo, hi := 0, 0; lo < rows; lo = hi {
		at := (f.state.Seen() + lo) % segment
		hi = min(rows, lo+segment-at)
		from := lo + max(0, first-at)
		if from >= hi {
			continue
		}
		if !e.Accumulate && at <= first {
			clear(l.Score)
		}
		a := f.attention
		a.Past, a.First = a.Past+from, a.First+from
		a.Cos, a.Sin = f.tables[f.place(layer.Index)].from(from, hi-from)
		a.addWeights(l.Score, q[from*w:hi*w], hi-from, f.keys)
	}
}

// addWeights adds to the sums [n,K] of the n = P+T keys their attention weights from T new
// tokens with the queries q [T,H·d], over all query heads of each KV head: token by token, so
// that sums have the same bits whatever a text is cut into.
func (a *Attention) addWeights(sums, q []float32, rows int, keys visibleKeys) {
	q = a.rotated(q, rows)
	defer scratch.Release(q)
	kernels.Each(a.KVHeads, func(g int) {
		total := scratch.Borrow(a.Past + rows)
		defer scratch.Release(total)
		for t := range total {
			total[t] = sums[t*a.KVHeads+g]
		}
		for lo := 0; lo < rows; lo += queryBlock {
			a.addBlockWeights(total, q, keys, queries{token: lo, tokens: min(queryBlock, rows-lo), head: g * a.group(), heads: 1})
		}
		for t, v := range total {
			sums[t*a.KVHeads+g] = v
		}
	})
}

// addBlockWeights adds those of some tokens' queries in the heads of a group, of which first
// has the first one, to total [n].
func (a *Attention) addBlockWeights(total, q []float32, keys visibleKeys, first queries) {
	from, to := a.span(first)
	ld := to - from
	size := first.tokens * ld
	s := scratch.Borrow(size * a.group())
	defer scratch.Release(s)
	for j := range a.group() {
		of := first
		of.head += j
		a.scores(s[j*size:(j+1)*size], ld, q, keys.k, of)
	}
	for i := range first.tokens {
		lo, hi := a.visible(first.token + i)
		for j := range a.group() {
			row := s[j*size+i*ld+lo-from : j*size+i*ld+hi-from]
			sum, _ := kernels.SoftmaxExp(row)
			kernels.Axpy(1/sum, row, total[lo:hi])
		}
	}
}

// addMoments takes more queries [m,H·d] into mean and covariance of the n before them, one by
// one (Welford, Note on a method for calculating corrected sums of squares and products, 1962).
func (l *LayerState) addMoments(q []float32, n int, d Dims) {
	size := d.HeadDim
	kernels.Each(d.Heads, func(h int) {
		mean, cov := splitMoments(l.Queries, h, size)
		off := scratch.Borrow(size)
		defer scratch.Release(off)
		for t := range len(q) / (d.Heads * size) {
			n := float32(n + t)
			copy(off, q[(t*d.Heads+h)*size:])
			kernels.Axpy(-1, mean, off)
			kernels.Axpy(1/(n+1), off, mean)
			kernels.Scale(n/(n+1), cov)
			for i, v := range off {
				kernels.Axpy(n/((n+1)*(n+1))*v, off, cov[i*size:(i+1)*size])
			}
		}
	})
}

// splitMoments returns mean [d] and covariance [d,d] of head h.
func splitMoments(moments []float32, h, d int) (mean, cov []float32) {
	x := headOf(moments, h, (d+1)*d)
	return x[:d], x[d:]
}

// MomentsSize returns the number of floats that mean and covariance of a layer's queries take.
func (d Dims) MomentsSize() int { return d.Heads * (d.HeadDim + 1) * d.HeadDim }

// QueryMoments returns mean [d] and covariance [d,d] of the queries of a head.
func (c Candidates) QueryMoments(head int) (mean, covariance []float32) {
	return splitMoments(c.Queries, head, c.Dims.HeadDim)
}

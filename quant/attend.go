package quant

import (
	"slices"

	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
)

// Attend is softmax attention in the steps of graphs (export/lower): queries after rotary
// embedding, times the scale, with keys; scores; probabilities; with values. A graph has
// scores of all places that there are; here are those that a query sees, since the others
// vanish in the softmax (see maskedBelow).
func (b *backend) Attend(l *model.Layer, q, k, v []float32, column *model.Column[[]float32]) []float32 {
	if !b.steps {
		return b.Ops.Attend(l, q, k, v, column)
	}
	a := &attend{backend: b, layerTaps: &b.layers[l.Index], layer: l, sight: b.Ops.(model.Seer).See(l), column: column}
	defer scratch.Release(a.sight.Bias)
	a.rows = len(q) / (a.sight.Heads * a.sight.HeadDim)
	if column != nil {
		a.logits(column)
	}
	local := b.Ops.Copy(q)
	queries := a.queries(q)
	a.sums = make([]float32, a.rows*a.sight.Heads)
	a.shares = make([]float32, a.rows*a.sight.Heads)
	kernels.Each(a.sight.Heads, func(h int) { a.head(local, queries, h) })
	scratch.Release(queries)
	if b.model.Spec.HasMemory() {
		b.visit(a.Local, local)
		a.join(local)
	} else {
		b.visit(a.output, local)
	}
	if b.watch {
		return b.Ops.Attend(l, q, k, v, column)
	}
	return local
}

// attend is one call of Attend.
type attend struct {
	*backend
	*layerTaps
	layer  *model.Layer
	sight  model.Sight
	rows   int
	column *model.Column[[]float32]
	logit  []float32 // of the column [T,H], as the softmax reads it
	mass   []float32 // what its share is multiplied by [T,H]; nil: 1
	sums   []float32 // of the keys' probabilities [T,H]
	shares []float32 // the column's probabilities [T,H]
}

// logits is the column's logit without the mass, where it has that.
func (a *attend) logits(column *model.Column[[]float32]) {
	a.logit = column.Logit
	if !a.model.Spec.GateByMass() {
		return
	}
	g := model.GateOp{Gate: a.model.Spec.Gate, Dims: a.sight.Dims}
	a.logit, a.mass = make([]float32, len(column.Logit)), make([]float32, len(column.Logit))
	for i := range a.logit {
		bias, tokens, mass := g.MeanMass(a.model.Spec, column.Logit, column.Read, i, a.sight.Written)
		masked := []float32{tokens} // it comes with the mask
		a.visit(MaskPoint, masked)
		a.logit[i], a.mass[i] = bias+masked[0], mass
	}
}

// queries returns q [T,H·d] turned and scaled, which the caller releases.
func (a *attend) queries(q []float32) []float32 {
	turned := scratch.Borrow(len(q))
	if a.layer.Rotary.None() {
		copy(turned, q)
	} else {
		a.turn(a.Rotated, turned, q, a.rows, a.sight.Heads, a.sight.Cos, a.sight.Sin)
	}
	if scale := a.queryScale; len(scale) == 1 {
		kernels.Scale(scale[0], turned)
	} else {
		for h := range slices.Chunk(turned, len(scale)) {
			kernels.Mul(h, scale)
		}
	}
	a.visit(a.Scaled, turned)
	return turned
}

// head writes what query head h gets from the values.
func (a *attend) head(local, queries []float32, h int) {
	s := &a.sight
	d, g, ldq, ldk := s.HeadDim, h/(s.Heads/s.KVHeads), s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	from, _ := s.Visible(0)
	_, to := s.Visible(a.rows - 1)
	n := to - from
	p := scratch.Borrow(a.rows * (n + 1)) // one more place for the memory's column
	defer scratch.Release(p)
	parts := func(f func(x model.SightPart, at, count, first int)) {
		for _, x := range s.Parts {
			lo, hi := max(from, x.First), min(to, x.First+len(x.Keys)/ldk)
			if lo < hi {
				f(x, (lo-x.First)*ldk+g*d, hi-lo, lo-from)
			}
		}
	}
	parts(func(x model.SightPart, at, count, first int) {
		kernels.GemmSerial(false, true, a.rows, count, d, 1, queries[h*d:], ldq, x.Keys[at:], ldk, 0, p[first:], n+1)
	})
	for t := range a.rows {
		row := p[t*(n+1) : (t+1)*(n+1)]
		lo, hi := s.Visible(t)
		a.row(row[lo-from:hi-from+1], lo, h, t)
		clear(row[:lo-from])
		clear(row[hi-from:])
	}
	parts(func(x model.SightPart, at, count, first int) {
		beta := float32(1)
		if first == 0 {
			beta = 0
		}
		kernels.GemmSerial(false, false, a.rows, d, count, 1, p[first:], n+1, x.Values[at:], ldk, beta, local[h*d:], ldq)
	})
}

// row turns the products of a query with the keys that it sees, the first of them the from-th
// of all, into probabilities; the last place is the column's.
func (a *attend) row(x []float32, from, h, t int) {
	s, keys, at := &a.sight, x[:len(x)-1], t*a.sight.Heads+h
	if a.layer.AttentionSoftcap != 0 {
		a.visit(a.Products, keys)
		kernels.Softcap(keys, a.layer.AttentionSoftcap)
	}
	if s.Bias != nil {
		n := len(s.Bias) / s.KVHeads
		lo, hi := max(from, s.SlotAt), min(from+len(keys), s.SlotAt+n)
		if bias := s.Bias[h/(s.Heads/s.KVHeads)*n:]; lo < hi {
			kernels.Add(keys[lo-from:hi-from], bias[lo-s.SlotAt:hi-s.SlotAt])
		}
	}
	x = keys
	if a.logit != nil {
		x = x[:len(x)+1]
		x[len(x)-1] = a.logit[at]
	}
	a.visit(a.Scores, x)
	sum, _ := kernels.SoftmaxExp(x)
	kernels.Scale(1/sum, x)
	a.visit(a.Probabilities, x)
	for _, p := range keys {
		a.sums[at] += p
	}
	if a.logit != nil {
		a.shares[at] = x[len(x)-1]
	}
}

// join adds what the memory's column has got, as export/lower's gates do.
func (a *attend) join(local []float32) {
	s, byMass := &a.sight, a.model.Spec.GateByMass()
	for at := range a.sums {
		x := local[at*s.HeadDim : (at+1)*s.HeadDim]
		share := a.shares[at]
		if a.mass != nil {
			share *= a.mass[at]
		}
		if a.column != nil {
			kernels.Axpy(share, a.column.Read[at*(s.HeadDim+1):at*(s.HeadDim+1)+s.HeadDim], x)
		}
		if byMass {
			kernels.Scale(1/(a.sums[at]+share), x)
		}
	}
}

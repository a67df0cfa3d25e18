package model

import (
	"slices"

	"eisft/internal/scratch"
	"eisft/model/kernels"
)

// AttentionGrads receives the gradients of Forward; all are added to. Score is
// the gradient of Attention.Score. Score, Logit and Read may be nil where
// Forward had none, and Q, K and V together where none is wanted.
type AttentionGrads struct {
	Q, K, V, Score, Logit, Read []float32
}

// Backward adds the gradients of Forward for the upstream gradient dOut, given
// its output and lse. Stored keys and values are constants.
func (a *Attention) Backward(g AttentionGrads, dOut, out, lse []float32, in NewTokens) {
	b := backward{Attention: a, grads: g, in: in, q: a.rotated(in.Q, in.Rows), bias: a.bias(), dOut: dOut, out: out, lse: lse}
	k, v := a.all(in)
	n := a.Past + in.Rows
	stored, values := floatRows(k, n, a.Dims), floatRows(v, n, a.Dims)
	b.keysT, b.valuesT = a.pack(&stored, n, in.Rows, true), a.pack(&values, n, in.Rows, true)
	if g.Q != nil {
		b.keys = a.pack(&stored, n, in.Rows, false)
	}
	dq, dk := scratch.BorrowZero(len(b.q)), scratch.BorrowZero(len(in.K))
	b.dq, b.dk = dq, dk
	defer scratch.Release(b.q, b.bias, k, v, dq, dk)
	defer scratch.Release(slices.Concat(b.keysT.buffers, b.valuesT.buffers, b.keys.buffers)...)
	kernels.Each(a.KVHeads, b.kvHead) // the heads of a group share dk and dv
	if g.Q == nil {
		return
	}
	a.weigh(dq)
	RotateRows(dq, dq, in.Rows, a.Heads, a.HeadDim, a.Cos, a.Sin, true)
	RotateRows(dk, dk, in.Rows, a.KVHeads, a.HeadDim, a.Cos, a.Sin, true)
	kernels.Add(g.Q, dq)
	kernels.Add(g.K, dk)
}

// backward is one run of Attention.Backward.
type backward struct {
	*Attention
	grads                AttentionGrads
	in                   NewTokens
	q, bias              []float32 // q after rotary embedding, weighed
	keysT, valuesT, keys headRows  // keys after rotary embedding
	dq, dk               []float32 // gradients after rotary embedding
	dOut, out            []float32
	lse                  []float32
}

func (b *backward) kvHead(g int) {
	r := b.group()
	dBias := scratch.BorrowZero(b.slots())
	h := headBackward{backward: b, g: g, dBias: dBias}
	defer scratch.Release(dBias)
	for head := g * r; head < (g+1)*r; head++ {
		for lo := 0; lo < b.in.Rows; lo += queryBlock {
			h.block(queries{token: lo, tokens: min(queryBlock, b.in.Rows-lo), head: head, heads: 1})
		}
	}
	for j, v := range dBias { // d log σ(ρ) = σ(-ρ)
		b.grads.Score[j*b.KVHeads+g] += v * kernels.Sigmoid1(-b.Score[j*b.KVHeads+g])
	}
}

// headBackward is the part of a run that belongs to KV head g.
type headBackward struct {
	*backward
	g     int
	dBias []float32 // [N]
}

// block adds what some queries contribute.
func (b *headBackward) block(q queries) {
	if !b.hasGradient(q) {
		return
	}
	d, rows := b.HeadDim, q.rows()
	from, to := b.span(q)
	ld := to - from
	p, ds := scratch.Borrow(rows*ld), scratch.Borrow(rows*ld)
	defer scratch.Release(p, ds)
	b.scores(p, ld, b.q, b.keysT, q)
	var capped []float32
	if b.Softcap != 0 {
		capped = scratch.Borrow(rows * ld)
		defer scratch.Release(capped)
		copy(capped, p)
	}
	b.raise(p, ld, b.bias, q)
	ldq, ldk, kv, first := b.Heads*d, b.KVHeads*d, b.g*d, (q.token*b.Heads+q.head)*d
	kernels.GemmPackedSerial(false, rows, ld, d, 1, b.dOut[first:], ldq, b.valuesT.whole(b.g).From(0, from), 0, ds, ld)
	for i := range rows {
		b.softmaxRow(p[i*ld:(i+1)*ld], ds[i*ld:(i+1)*ld], from, q.token+i, q.head)
	}
	b.addBias(ds, ld, from, to, q)
	if b.grads.Q == nil {
		return
	}
	if capped != nil {
		kernels.SoftcapGrad(ds, capped, b.Softcap)
	}
	kernels.GemmPackedSerial(false, rows, d, ld, b.Scale, ds, ld, b.keys.whole(b.g).From(from, 0), 1, b.dq[first:], ldq)
	fresh := max(from, b.Past) // stored keys and values are constants
	n, at := to-fresh, (fresh-b.Past)*ldk+kv
	kernels.GemmSerial(true, false, n, d, rows, b.Scale, ds[fresh-from:], ld, b.q[first:], ldq, 1, b.dk[at:], ldk)
	kernels.GemmSerial(true, false, n, d, rows, 1, p[fresh-from:], ld, b.dOut[first:], ldq, 1, b.grads.V[at:], ldk)
}

// hasGradient says whether the output of any of the queries has one: else they give none.
func (b *headBackward) hasGradient(q queries) bool {
	for i := range q.rows() {
		t, h := q.row(i)
		if !kernels.IsZero(b.dOut[(t*b.Heads+h)*b.HeadDim:][:b.HeadDim]) {
			return true
		}
	}
	return false
}

// addBias adds the gradients of the scores of a span to that of the slots' log σ(ρ).
func (b *headBackward) addBias(ds []float32, ld, from, to int, q queries) {
	lo, hi := max(from, b.SlotAt), min(to, b.SlotAt+len(b.dBias))
	if lo >= hi {
		return
	}
	for i := range q.rows() {
		if b.Decay {
			for j := lo; j < hi; j++ {
				b.dBias[j-b.SlotAt] += b.age(q.token+i, j-b.SlotAt, b.g) * ds[i*ld+j-from]
			}
			continue
		}
		kernels.Add(b.dBias[lo-b.SlotAt:hi-b.SlotAt], ds[i*ld+lo-from:i*ld+hi-from])
	}
}

// softmaxRow turns the scores of keys from `start` on into probabilities p, the
// gradient of p into that of the scores, and adds the gradients of the memory's
// column.
func (b *backward) softmaxRow(p, ds []float32, start, t, h int) {
	d, at := b.HeadDim, t*b.Heads+h
	from, to := b.visible(t)
	from, to = from-start, to-start
	up := b.dOut[at*d : (at+1)*d]
	delta := kernels.Dot(up, b.out[at*d:(at+1)*d])
	kernels.ExpShifted(p[from:to], b.lse[at])
	kernels.SoftmaxGradAt(ds[from:to], p[from:to], delta)
	for _, x := range [][]float32{p, ds} {
		clear(x[:from])
		clear(x[to:])
	}
	if b.in.Logit == nil {
		return
	}
	pc := kernels.Exp1(b.in.Logit[at] - b.lse[at])
	read := at * (d + 1)
	b.grads.Logit[at] += pc * (kernels.Dot(up, b.in.Read[read:read+d]) - delta)
	kernels.Axpy(pc, up, b.grads.Read[read:read+d])
}

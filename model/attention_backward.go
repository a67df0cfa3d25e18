package model

import (
	"eisft/model/kernels"
	"eisft/model/scratch"
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
	q, k := a.rotated(in.Q, a.Heads, in.Rows), a.rotated(in.K, a.KVHeads, in.Rows)
	bias := a.bias()
	dq, dk := scratch.BorrowZero(len(q)), scratch.BorrowZero(len(k))
	defer scratch.Release(q, k, bias, dq, dk)
	b := backward{Attention: a, grads: g, in: in, q: q, k: k, bias: bias, dq: dq, dk: dk, dOut: dOut, out: out, lse: lse}
	kernels.Each(a.KVHeads, b.kvHead) // the heads of a group share dk and dv
	if g.Q == nil {
		return
	}
	RotateRows(dq, dq, in.Rows, a.Heads, a.HeadDim, a.Cos, a.Sin, true)
	RotateRows(dk, dk, in.Rows, a.KVHeads, a.HeadDim, a.Cos, a.Sin, true)
	kernels.Add(g.Q, dq)
	kernels.Add(g.K, dk)
}

// backward is one run of Attention.Backward.
type backward struct {
	*Attention
	grads      AttentionGrads
	in         NewTokens
	q, k, bias []float32 // q and k after rotary embedding
	dq, dk     []float32 // gradients of these
	dOut, out  []float32
	lse        []float32
}

func (b *backward) kvHead(g int) {
	r := b.group()
	dBias := scratch.BorrowZero(b.slots())
	h := headBackward{
		backward: b, g: g, dBias: dBias,
		keysT:   b.headRows(b.PastK, b.k, b.in.Rows, g, true),
		valuesT: b.headRows(b.PastV, b.in.V, b.in.Rows, g, true),
	}
	if b.grads.Q != nil {
		h.keys = b.headRows(b.PastK, b.k, b.in.Rows, g, false)
	}
	defer scratch.Release(dBias, h.keysT.buffer, h.valuesT.buffer, h.keys.buffer)
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
	g                    int
	dBias                []float32 // [N]
	keysT, valuesT, keys headRows
}

// block adds what some queries contribute.
func (b *headBackward) block(q queries) {
	d, rows, end, ld := b.HeadDim, q.rows(), q.end(), b.Past+q.end()
	p, ds := scratch.Borrow(rows*ld), scratch.Borrow(rows*ld)
	defer scratch.Release(p, ds)
	b.scores(p, ld, b.q, b.keysT, b.bias, q)
	ldq, ldk, kv, first := b.Heads*d, b.KVHeads*d, b.g*d, (q.token*b.Heads+q.head)*d
	b.valuesT.times(ds, ld, b.dOut[first:], ldq, rows, end, 1)
	for i := range rows {
		row := ds[i*ld : (i+1)*ld]
		b.softmaxRow(p[i*ld:(i+1)*ld], row, q.token+i, q.head)
		kernels.Add(b.dBias, row[b.SlotAt:b.SlotAt+len(b.dBias)])
	}
	if b.grads.Q == nil {
		return
	}
	scale := b.scale()
	b.keys.times(b.dq[first:], ldq, ds, ld, rows, end, scale)
	kernels.GemmSerial(true, false, end, d, rows, scale, ds[b.Past:], ld, b.q[first:], ldq, 1, b.dk[kv:], ldk)
	kernels.GemmSerial(true, false, end, d, rows, 1, p[b.Past:], ld, b.dOut[first:], ldq, 1, b.grads.V[kv:], ldk)
}

// softmaxRow turns scores into probabilities p, the gradient of p into that of
// the scores, and adds the gradients of the memory's column.
func (b *backward) softmaxRow(p, ds []float32, t, h int) {
	d, at := b.HeadDim, t*b.Heads+h
	from, to := b.visible(t)
	for j := from; j < to; j++ {
		p[j] -= b.lse[at]
	}
	kernels.Exp(p[from:to], p[from:to])
	up := b.dOut[at*d : (at+1)*d]
	delta := kernels.Dot(up, b.out[at*d:(at+1)*d])
	for j := from; j < to; j++ {
		ds[j] = p[j] * (ds[j] - delta)
	}
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

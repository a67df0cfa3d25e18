package model

import (
	"math"

	"eisft/model/kernels"
	"eisft/model/scratch"
)

// queryBlock is how many query rows share one score buffer: 64 rows times a
// thousand keys stay in a core's second-level cache.
const queryBlock = 64

// Attention is causal softmax attention of T new tokens over P stored keys and
// the T new ones, fused so that the whole score matrix never exists.
type Attention struct {
	Dims
	// PastK (after rotary embedding) and PastV are the stored tokens, [P,K·d].
	PastK, PastV []float32
	Past         int
	// Score [N,K] are the retention scores of the N stored tokens from row
	// SlotAt on; nil where they have no part. With soft slots log σ(ρ) is added
	// to their logits; with hard ones only its gradient flows (straight-through:
	// the value added is zero).
	Score  []float32
	SlotAt int
	Soft   bool
	// SlidingWindow is how many keys a query sees at most, counted back from its
	// own in the order stored, whatever their positions; 0: all of them.
	SlidingWindow int
	// Cos and Sin [T,m] are the rotary tables of the new tokens.
	Cos, Sin []float32
}

// NewTokens are the inputs of the attention that belong to the new tokens:
// q [T,H·d], k and v [T,K·d] before rotary embedding, and the memory's column:
// logit [T,H] and read [T,H·(d+1)], or nil.
type NewTokens struct {
	Q, K, V     []float32
	Logit, Read []float32
	Rows        int
}

// rotated returns a copy of x [T,heads·d] after rotary embedding.
func (a *Attention) rotated(x []float32, heads, rows int) []float32 {
	out := scratch.Borrow(rows * heads * a.HeadDim)
	RotateRows(out, x, rows, heads, a.HeadDim, a.Cos, a.Sin, false)
	return out
}

// visible returns the range [from,to) of the keys that new token t sees.
func (a *Attention) visible(t int) (from, to int) {
	to = a.Past + t + 1
	if a.SlidingWindow > 0 {
		from = max(0, to-a.SlidingWindow)
	}
	return from, to
}

// slots returns N.
func (a *Attention) slots() int { return len(a.Score) / a.KVHeads }

// bias returns log σ(ρ) as [K,N], or nil where nothing is added to the logits.
func (a *Attention) bias() []float32 {
	if !a.Soft || len(a.Score) == 0 {
		return nil
	}
	b := scratch.Borrow(len(a.Score))
	kernels.Transpose(b, a.Score, a.slots(), a.KVHeads)
	kernels.LogSigmoid(b, b)
	return b
}

// Forward writes the attention's output [T,H·d]. lse [T,H], if not nil,
// receives each row's log of the sum of exponentials, which Backward needs.
func (a *Attention) Forward(dst, lse []float32, in NewTokens) {
	q, k := a.rotated(in.Q, a.Heads, in.Rows), a.rotated(in.K, a.KVHeads, in.Rows)
	bias := a.bias()
	defer scratch.Release(q, k, bias)
	blocks := (in.Rows + queryBlock - 1) / queryBlock
	kernels.Each(blocks*a.Heads, func(i int) {
		h, lo := i%a.Heads, i/a.Heads*queryBlock
		a.forwardBlock(dst, lse, q, k, bias, in, h, lo, min(lo+queryBlock, in.Rows))
	})
}

// forwardBlock computes query rows [lo,hi) of head h.
func (a *Attention) forwardBlock(dst, lse, q, k, bias []float32, in NewTokens, h, lo, hi int) {
	d, rows, keys := a.HeadDim, hi-lo, a.Past+hi
	s := scratch.Borrow(rows * (keys + 1)) // one more place for the memory's column
	defer scratch.Release(s)
	a.scores(s, keys+1, q, k, bias, h, lo, hi)
	for t := lo; t < hi; t++ {
		row := s[(t-lo)*(keys+1) : (t-lo+1)*(keys+1)]
		from, to := a.visible(t)
		n := to
		if in.Logit != nil {
			row[n] = in.Logit[t*a.Heads+h]
			n++
		}
		total := kernels.Softmax(row[from:n])
		if lse != nil {
			lse[t*a.Heads+h] = total
		}
		out := dst[t*a.Heads*d+h*d : t*a.Heads*d+(h+1)*d]
		clear(out)
		if in.Logit != nil {
			kernels.Axpy(row[to], in.Read[(t*a.Heads+h)*(d+1):(t*a.Heads+h)*(d+1)+d], out)
		}
		clear(row[:from])
		clear(row[to:])
	}
	kv := h / (a.Heads / a.KVHeads) * d
	ldq, ldk := a.Heads*d, a.KVHeads*d
	out := dst[lo*ldq+h*d:]
	kernels.GemmSerial(false, false, rows, d, a.Past, 1, s, keys+1, at(a.PastV, kv), ldk, 1, out, ldq)
	kernels.GemmSerial(false, false, rows, d, hi, 1, s[a.Past:], keys+1, in.V[kv:], ldk, 1, out, ldq)
}

// scores writes q·k/√d plus the slots' bias for rows [lo,hi) of head h over
// the stored keys and the first hi new ones, rows ld apart.
func (a *Attention) scores(s []float32, ld int, q, k, bias []float32, h, lo, hi int) {
	d, g := a.HeadDim, h/(a.Heads/a.KVHeads)
	ldq, ldk, rows := a.Heads*d, a.KVHeads*d, hi-lo
	scale := float32(1 / math.Sqrt(float64(d)))
	qh := q[lo*ldq+h*d:]
	kernels.GemmSerial(false, true, rows, a.Past, d, scale, qh, ldq, at(a.PastK, g*d), ldk, 0, s, ld)
	kernels.GemmSerial(false, true, rows, hi, d, scale, qh, ldq, k[g*d:], ldk, 0, s[a.Past:], ld)
	if bias == nil {
		return
	}
	n := a.slots()
	for t := range rows {
		kernels.Add(s[t*ld+a.SlotAt:t*ld+a.SlotAt+n], bias[g*n:(g+1)*n])
	}
}

// at is x[i:], or nothing of nothing: a state may hold no stored key yet.
func at(x []float32, i int) []float32 {
	if len(x) == 0 {
		return nil
	}
	return x[i:]
}

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
	dq, dk := scratch.Borrow(len(q)), scratch.BorrowZero(len(k))
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
	r := b.Heads / b.KVHeads
	dBias := scratch.BorrowZero(b.slots())
	defer scratch.Release(dBias)
	for h := g * r; h < (g+1)*r; h++ {
		for lo := 0; lo < b.in.Rows; lo += queryBlock {
			b.block(dBias, h, g, lo, min(lo+queryBlock, b.in.Rows))
		}
	}
	for j, v := range dBias { // d log σ(ρ) = σ(-ρ)
		b.grads.Score[j*b.KVHeads+g] += v * kernels.Sigmoid1(-b.Score[j*b.KVHeads+g])
	}
}

// block adds what query rows [lo,hi) of head h contribute.
func (b *backward) block(dBias []float32, h, g, lo, hi int) {
	d, rows, keys := b.HeadDim, hi-lo, b.Past+hi
	p, ds := scratch.Borrow(rows*keys), scratch.Borrow(rows*keys)
	defer scratch.Release(p, ds)
	b.scores(p, keys, b.q, b.k, b.bias, h, lo, hi)
	ldq, ldk, kv := b.Heads*d, b.KVHeads*d, g*d
	up := b.dOut[lo*ldq+h*d:]
	kernels.GemmSerial(false, true, rows, b.Past, d, 1, up, ldq, at(b.PastV, kv), ldk, 0, ds, keys)
	kernels.GemmSerial(false, true, rows, hi, d, 1, up, ldq, b.in.V[kv:], ldk, 0, ds[b.Past:], keys)
	for t := lo; t < hi; t++ {
		b.softmaxRow(p[(t-lo)*keys:(t-lo+1)*keys], ds[(t-lo)*keys:(t-lo+1)*keys], t, h)
		kernels.Add(dBias, ds[(t-lo)*keys+b.SlotAt:(t-lo)*keys+b.SlotAt+len(dBias)])
	}
	if b.grads.Q == nil {
		return
	}
	scale := float32(1 / math.Sqrt(float64(d)))
	dq := b.dq[lo*ldq+h*d:]
	kernels.GemmSerial(false, false, rows, d, b.Past, scale, ds, keys, at(b.PastK, kv), ldk, 0, dq, ldq)
	beta := float32(1)
	if b.Past == 0 {
		beta = 0 // nothing has been written to dq yet
	}
	kernels.GemmSerial(false, false, rows, d, hi, scale, ds[b.Past:], keys, b.k[kv:], ldk, beta, dq, ldq)
	kernels.GemmSerial(true, false, hi, d, rows, scale, ds[b.Past:], keys, b.q[lo*ldq+h*d:], ldq, 1, b.dk[kv:], ldk)
	kernels.GemmSerial(true, false, hi, d, rows, 1, p[b.Past:], keys, up, ldq, 1, b.grads.V[kv:], ldk)
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

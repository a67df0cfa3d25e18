package model

import (
	"math"

	"eisft/internal/scratch"
	"eisft/model/kernels"
	"eisft/model/schedule"
)

// queryBlock is how many query rows share one score buffer: 64 rows times a
// thousand keys stay in a core's second-level cache.
const queryBlock = 64

// Attention is causal softmax attention of T new tokens over P stored keys and
// the T new ones, fused so that the whole score matrix never exists.
type Attention struct {
	Dims
	// Scale is what the products of queries and keys are multiplied by.
	Scale float32
	// Softcap is c, where the logits of keys are c·tanh(scale·q·k/c), before all that is
	// added to them; 0: they are not capped (Gemma 2, arXiv 2408.00118, section 2).
	Softcap float32
	// PastK (after rotary embedding) and PastV are the stored tokens, [P,K·d].
	PastK, PastV []float32
	Past         int
	// Score [N,K] are the retention scores of the N stored tokens from row
	// SlotAt on; nil where they have no part. With soft slots log σ(ρ) is added
	// to their logits; with hard ones only its gradient flows (straight-through:
	// the value added is zero). With decay it is age·log σ(ρ), where the age of a token for
	// a query is how far it is back in the sequence.
	Score  []float32
	SlotAt int
	Soft   bool
	Decay  bool
	// Token [N,K] are the indices in the sequence of these tokens, First is that of the
	// first new one.
	Token []int32
	First int
	// SlidingWindow is how many keys a query sees at most, counted back from its
	// own in the order stored, whatever their positions; 0: all of them.
	SlidingWindow int
	// Cos and Sin [T,m] are the rotary tables of the new tokens.
	Cos, Sin []float32
	// QueryWeight [d] multiplies the dimensions of queries after rotary embedding; nil: 1.
	QueryWeight []float32
}

// NewTokens are the inputs of the attention that belong to the new tokens:
// q [T,H·d], k and v [T,K·d] before rotary embedding, and the memory's column:
// logit [T,H] and read [T,H·(d+1)], or nil.
type NewTokens struct {
	Q, K, V     []float32
	Logit, Read []float32
	Rows        int
}

// rotated returns a copy of the queries q [T,H·d] after rotary embedding, weighed.
func (a *Attention) rotated(q []float32, rows int) []float32 {
	out := scratch.Borrow(rows * a.Heads * a.HeadDim)
	RotateRows(out, q, rows, a.Heads, a.HeadDim, a.Cos, a.Sin, false)
	a.weigh(out)
	return out
}

// weigh multiplies queries after rotary embedding, or their gradient, by their weights.
func (a *Attention) weigh(q []float32) {
	if a.QueryWeight == nil {
		return
	}
	for ; len(q) > 0; q = q[a.HeadDim:] {
		kernels.Mul(q[:a.HeadDim], a.QueryWeight)
	}
}

// visible returns the range [from,to) of the keys that new token t sees.
func (a *Attention) visible(t int) (from, to int) { return schedule.Visible(a.Past+t, a.SlidingWindow) }

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

// all returns the keys (after rotary embedding) and values of the stored and the
// new tokens one after another; the caller releases them.
func (a *Attention) all(in NewTokens) (k, v []float32) {
	w := a.KVHeads * a.HeadDim
	k, v = scratch.Borrow((a.Past+in.Rows)*w), scratch.Borrow((a.Past+in.Rows)*w)
	copy(k, a.PastK[:a.Past*w])
	RotateRows(k[a.Past*w:], in.K, in.Rows, a.KVHeads, a.HeadDim, a.Cos, a.Sin, false)
	copy(v, a.PastV[:a.Past*w])
	copy(v[a.Past*w:], in.V[:in.Rows*w])
	return k, v
}

// headRows are the keys or values of each KV head as the products of many query blocks
// read them, chunk by chunk.
type headRows struct {
	chunks  []headChunk
	buffers [][]float32
}

// whole returns KV head g of rows in one chunk.
func (h headRows) whole(g int) kernels.Packed { return h.chunks[0].heads[g] }

// headChunk is the part [first,end) of the rows. heads are its factors for each KV head; nil:
// products widen the rows.
type headChunk struct {
	first, end int
	heads      []kernels.Packed
	rows       *Rows
	chunk      rowChunk
}

// packFrom is the number of query rows from which packing repays.
const packFrom = 16

// pack packs n rows [n,K·d] for products of a number of query rows, q·xᵀ if transposed and
// p·x if not. The caller releases the buffers.
func (a *Attention) pack(x *Rows, n, queries int, transposed bool) headRows {
	var h headRows
	packs := queries*a.group() >= packFrom
	x.parts(0, n, func(c rowChunk, lo, hi int) {
		part := headChunk{first: lo, end: hi, rows: x, chunk: c}
		switch {
		case packs:
			h.buffers = append(h.buffers, part.pack(transposed)...)
		case transposed || c.floats != nil:
			part.inPlace(transposed)
		}
		h.chunks = append(h.chunks, part)
	})
	return h
}

// visibleKeys are the keys and values that new tokens see, and what is added to the
// slots' logits: all that their queries share.
type visibleKeys struct {
	k, v headRows
	bias []float32
}

// prepare packs keys (after rotary embedding) and values of all stored and new
// tokens, [n,K·d], for a number of query rows.
func (a *Attention) prepare(k, v *Rows, n, queries int) visibleKeys {
	return visibleKeys{k: a.pack(k, n, queries, true), v: a.pack(v, n, queries, false), bias: a.bias()}
}

func (v visibleKeys) release() {
	scratch.Release(v.k.buffers...)
	scratch.Release(v.v.buffers...)
	scratch.Release(v.bias)
}

// queries are the rows of a score buffer, which see the keys of one KV head: tokens
// of one head, or of a single token several heads.
type queries struct {
	token, tokens int
	head, heads   int
}

func (q queries) rows() int { return q.tokens * q.heads }

// row returns token and head of the i-th row.
func (q queries) row(i int) (t, h int) { return q.token + i/q.heads, q.head + i%q.heads }

// end returns the token after the last one.
func (q queries) end() int { return q.token + q.tokens }

// span returns the range [from,to) of keys that any of the queries sees; from is
// where a packed factor can be cut.
func (a *Attention) span(q queries) (from, to int) {
	from, _ = a.visible(q.token)
	return from - from%kernels.PackedColumns, a.Past + q.end()
}

// stride returns how far rows are apart in an array [T,H·d].
func (a *Attention) stride(q queries) int {
	if q.heads > 1 {
		return a.HeadDim
	}
	return a.Heads * a.HeadDim
}

// group returns r, the query heads of a KV head.
func (a *Attention) group() int { return a.Heads / a.KVHeads }

// forward is one run of Attention.Forward.
type forward struct {
	*Attention
	in       NewTokens
	q        []float32 // after rotary embedding, weighed
	keys     visibleKeys
	dst, lse []float32
}

// Forward writes the attention's output [T,H·d]. lse [T,H], if not nil,
// receives each row's log of the sum of exponentials, which Backward needs.
func (a *Attention) Forward(dst, lse []float32, in NewTokens) {
	k, v := a.all(in)
	n := a.Past + in.Rows
	stored, values := floatRows(k, n, a.Dims), floatRows(v, n, a.Dims)
	keys := a.prepare(&stored, &values, n, in.Rows)
	a.attend(dst, lse, in, keys)
	keys.release()
	scratch.Release(k, v)
}

// attend is Forward with keys and values of in prepared, of more tokens if need be.
func (a *Attention) attend(dst, lse []float32, in NewTokens, keys visibleKeys) {
	f := forward{Attention: a, in: in, q: a.rotated(in.Q, in.Rows), keys: keys, dst: dst, lse: lse}
	heads := 1
	if in.Rows == 1 {
		heads = a.group() // their keys are read once
	}
	units := a.Heads / heads
	n := (in.Rows + queryBlock - 1) / queryBlock * units
	kernels.Each(n, func(i int) {
		i = n - 1 - i // the longest rows first, so that all cores end together
		lo := i / units * queryBlock
		f.block(queries{token: lo, tokens: min(queryBlock, in.Rows-lo), head: i % units * heads, heads: heads})
	})
	scratch.Release(f.q)
}

// block computes the output of some queries.
func (f *forward) block(q queries) {
	d, g, rows := f.HeadDim, q.head/f.group(), q.rows()
	from, to := f.span(q)
	ld := to - from + 1 // one more place for the memory's column
	s, inverse := scratch.Borrow(rows*ld), scratch.Borrow(rows)
	defer scratch.Release(s, inverse)
	f.scores(s, ld, f.q, f.keys.k, q)
	f.raise(s, ld, f.keys.bias, q)
	for i := range rows {
		inverse[i] = f.expRow(s[i*ld:(i+1)*ld], q, i)
	}
	t, h := q.row(0)
	out, ldo := f.dst[(t*f.Heads+h)*d:], f.stride(q)
	f.keys.v.multiply(g, rows, s, ld, from, to, out, ldo)
	for i := range rows {
		kernels.Scale(inverse[i], out[i*ldo:i*ldo+d])
	}
}

// expRow turns a row of scores into probabilities but for a factor, which it
// returns, and begins the output with what the memory's column adds to it.
func (f *forward) expRow(row []float32, q queries, i int) (factor float32) {
	t, h := q.row(i)
	at, d := t*f.Heads+h, f.HeadDim
	start, _ := f.span(q)
	from, to := f.visible(t)
	from, to = from-start, to-start
	n := to
	if f.in.Logit != nil {
		row[n] = f.in.Logit[at]
		n++
	}
	sum, shift := kernels.SoftmaxExp(row[from:n])
	if f.lse != nil {
		f.lse[at] = shift + float32(math.Log(float64(sum)))
	}
	out := f.dst[at*d : (at+1)*d]
	clear(out)
	if f.in.Logit != nil {
		kernels.Axpy(row[to], f.in.Read[at*(d+1):at*(d+1)+d], out)
	}
	clear(row[:from])
	clear(row[to:])
	return 1 / sum
}

// scores writes Scale·q·k, capped, for some queries over the keys of their span, rows ld
// apart.
func (a *Attention) scores(s []float32, ld int, q []float32, k headRows, of queries) {
	t, h := of.row(0)
	g, d := of.head/a.group(), a.HeadDim
	from, to := a.span(of)
	k.parts(from, to, func(c *headChunk, lo, hi int) {
		kernels.GemmPackedSerial(false, of.rows(), hi-lo, d, a.Scale, q[(t*a.Heads+h)*d:], a.stride(of), c.heads[g].From(0, lo-c.first), 0, s[lo-from:], ld)
	})
	for i := 0; a.Softcap != 0 && i < of.rows(); i++ {
		kernels.Softcap(s[i*ld:i*ld+to-from], a.Softcap)
	}
}

// raise adds the slots' bias to the scores of some queries.
func (a *Attention) raise(s []float32, ld int, bias []float32, of queries) {
	if bias == nil {
		return
	}
	g, n := of.head/a.group(), a.slots()
	from, to := a.span(of)
	lo, hi := max(from, a.SlotAt), min(to, a.SlotAt+n)
	if lo >= hi {
		return
	}
	for i := range of.rows() {
		if a.Decay {
			t, _ := of.row(i)
			for j := lo; j < hi; j++ {
				s[i*ld+j-from] += a.age(t, j-a.SlotAt, g) * bias[g*n+j-a.SlotAt]
			}
			continue
		}
		kernels.Add(s[i*ld+lo-from:i*ld+hi-from], bias[g*n+lo-a.SlotAt:g*n+hi-a.SlotAt])
	}
}

// age is how far the j-th slot of a KV head is back in the sequence from new token t.
func (a *Attention) age(t, j, kv int) float32 {
	return float32(a.First + t - int(a.Token[j*a.KVHeads+kv]))
}

// at is x[i:], or nothing of nothing.
func at(x []float32, i int) []float32 {
	if len(x) == 0 {
		return nil
	}
	return x[i:]
}

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

// headRows are the keys or values of one KV head: those of the stored tokens and
// of the new ones, packed for the products of many query blocks.
type headRows struct {
	past, fresh kernels.Packed
	stored, d   int
	transposed  bool
	buffer      []float32
}

// packFrom is the number of query rows from which packing repays.
const packFrom = 16

// headRows packs KV head g of stored [P,K·d] and fresh [T,K·d] rows, for products
// x·rowsᵀ if transposed and x·rows if not. The caller releases the buffer.
func (a *Attention) headRows(stored, fresh []float32, rows, g int, transposed bool) headRows {
	d, ld := a.HeadDim, a.KVHeads*a.HeadDim
	h := headRows{stored: a.Past, d: d, transposed: transposed}
	size := func(n int) (cols, depth int) {
		if transposed {
			return n, d
		}
		return d, n
	}
	n, k := size(a.Past)
	m, l := size(rows)
	split := 0
	if rows*a.Heads/a.KVHeads >= packFrom {
		split = kernels.PackedSize(n, k)
		h.buffer = scratch.Borrow(split + kernels.PackedSize(m, l))
	}
	h.past = kernels.Pack(h.buffer[:split], transposed, n, k, at(stored, g*d), ld)
	h.fresh = kernels.Pack(h.buffer[split:], transposed, m, l, fresh[g*d:], ld)
	return h
}

// times writes scale·x·rowsᵀ [m,P+n] for x [m,d] if the rows are transposed, and
// adds scale·x·rows [m,d] for x [m,P+n] if not, with the first n of the new rows.
func (h headRows) times(dst []float32, ldd int, x []float32, ldx, m, n int, scale float32) {
	if h.transposed {
		kernels.GemmPacked(false, m, h.stored, h.d, scale, x, ldx, h.past, 0, dst, ldd)
		kernels.GemmPacked(false, m, n, h.d, scale, x, ldx, h.fresh, 0, dst[h.stored:], ldd)
		return
	}
	kernels.GemmPacked(false, m, h.d, h.stored, scale, x, ldx, h.past, 1, dst, ldd)
	kernels.GemmPacked(false, m, h.d, n, scale, x[h.stored:], ldx, h.fresh, 1, dst, ldd)
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
	q        []float32 // after rotary embedding
	bias     []float32
	k, v     []headRows // of each KV head
	dst, lse []float32
}

// Forward writes the attention's output [T,H·d]. lse [T,H], if not nil,
// receives each row's log of the sum of exponentials, which Backward needs.
func (a *Attention) Forward(dst, lse []float32, in NewTokens) {
	q, k := a.rotated(in.Q, a.Heads, in.Rows), a.rotated(in.K, a.KVHeads, in.Rows)
	f := forward{Attention: a, in: in, q: q, bias: a.bias(), dst: dst, lse: lse}
	f.k, f.v = make([]headRows, a.KVHeads), make([]headRows, a.KVHeads)
	kernels.Each(a.KVHeads, func(g int) {
		f.k[g] = a.headRows(a.PastK, k, in.Rows, g, true)
		f.v[g] = a.headRows(a.PastV, in.V, in.Rows, g, false)
	})
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
	scratch.Release(q, k, f.bias)
	for g := range a.KVHeads {
		scratch.Release(f.k[g].buffer, f.v[g].buffer)
	}
}

// block computes the output of some queries.
func (f *forward) block(q queries) {
	d, ld, g := f.HeadDim, f.Past+q.end()+1, q.head/f.group() // one more place for the memory's column
	s := scratch.Borrow(q.rows() * ld)
	defer scratch.Release(s)
	f.scores(s, ld, f.q, f.k[g], f.bias, q)
	for i := range q.rows() {
		f.softmaxRow(s[i*ld:(i+1)*ld], q, i)
	}
	t, h := q.row(0)
	f.v[g].times(f.dst[(t*f.Heads+h)*d:], f.stride(q), s, ld, q.rows(), q.end(), 1)
}

// softmaxRow turns scores into probabilities and begins the output with what the
// memory's column adds to it.
func (f *forward) softmaxRow(row []float32, q queries, i int) {
	t, h := q.row(i)
	at, d := t*f.Heads+h, f.HeadDim
	from, to := f.visible(t)
	n := to
	if f.in.Logit != nil {
		row[n] = f.in.Logit[at]
		n++
	}
	total := kernels.Softmax(row[from:n])
	if f.lse != nil {
		f.lse[at] = total
	}
	out := f.dst[at*d : (at+1)*d]
	clear(out)
	if f.in.Logit != nil {
		kernels.Axpy(row[to], f.in.Read[at*(d+1):at*(d+1)+d], out)
	}
	clear(row[:from])
	clear(row[to:])
}

// scores writes q·k/√d plus the slots' bias for some queries over the stored keys
// and the new ones up to the last query's, rows ld apart.
func (a *Attention) scores(s []float32, ld int, q []float32, k headRows, bias []float32, of queries) {
	t, h := of.row(0)
	k.times(s, ld, q[(t*a.Heads+h)*a.HeadDim:], a.stride(of), of.rows(), of.end(), a.scale())
	if bias == nil {
		return
	}
	n, g := a.slots(), of.head/a.group()
	for i := range of.rows() {
		kernels.Add(s[i*ld+a.SlotAt:i*ld+a.SlotAt+n], bias[g*n:(g+1)*n])
	}
}

// scale is what the products of queries and keys are multiplied by.
func (a *Attention) scale() float32 { return float32(1 / math.Sqrt(float64(a.HeadDim))) }

// at is x[i:], or nothing of nothing: a state may hold no stored key yet.
func at(x []float32, i int) []float32 {
	if len(x) == 0 {
		return nil
	}
	return x[i:]
}

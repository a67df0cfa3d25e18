package model

import (
	"fmt"

	"eisft/internal/enum"
	"eisft/internal/scratch"
	"eisft/model/kernels"
)

// CacheType is how a stream holds keys and values of stored tokens.
type CacheType string

// The types of a cache.
const (
	CacheFloat32 CacheType = "float32" // as they were computed
	CacheFloat16 CacheType = "float16" // rounded to IEEE 754 half precision; beyond 65504 they become infinite
	CacheInt8    CacheType = "int8"    // codes of 8 bits, with a scale for each 32 numbers of a head
)

// cacheFormat is how a type of cache holds the numbers of a head.
type cacheFormat struct {
	block  int // of numbers that are rounded together
	bytes  func(n int) int
	narrow func(dst []byte, src []float32)
	widen  func(dst []float32, src []byte)
	stored func(data []byte) kernels.Stored
}

// cacheFormats has no functions for float32.
var cacheFormats = enum.NewTable[CacheType, cacheFormat]("cache").
	With(CacheFloat32, cacheFormat{block: 1, bytes: func(n int) int { return 4 * n }}).
	With(CacheFloat16, cacheFormat{1, func(n int) int { return 2 * n }, kernels.F32ToF16, kernels.F16ToF32, kernels.StoredF16}).
	With(CacheInt8, cacheFormat{kernels.I8Block, kernels.I8Bytes, kernels.F32ToI8, kernels.I8ToF32, kernels.StoredI8})

// CacheTypes lists the types of a cache.
func CacheTypes() []CacheType { return cacheFormats.Names() }

// CheckCache reports a type of cache that streams over the base cannot have.
func (b *Base) CheckCache(t CacheType) error {
	f, err := cacheFormats.Find(t)
	if err == nil && b.Dims.HeadDim%f.block != 0 {
		return fmt.Errorf("cache is %q, whose scales are for %d numbers, but the base has heads of %d; take %s", t, f.block, b.Dims.HeadDim, CacheFloat16)
	}
	return err
}

// or is t, or float32 where nothing is said.
func (t CacheType) or() CacheType {
	if t == "" {
		return CacheFloat32
	}
	return t
}

// Rows are keys or values of n stored tokens, [n,K·d], in the type of the stream's cache. Those that only ever grow get
// another chunk when there is no room: what is there is not copied. All others have one chunk.
type Rows struct {
	cache      CacheType
	heads, dim int // K, d
	grows      bool
	n          int
	chunks     []rowChunk
}

// rowChunk has room for some rows from the first one on: floats [room,K·d], or bytes [K,room,…].
type rowChunk struct {
	first, room int
	floats      []float32
	bytes       []byte
}

// chunkRows is what the rows of a chunk are a multiple of if another one follows: sums over rows begin anew at its
// multiples (see package kernels), so that they have the same bits in chunks.
const chunkRows = 256

func newRows(t CacheType, d Dims, grows bool) Rows {
	return Rows{cache: t.or(), heads: d.KVHeads, dim: d.HeadDim, grows: grows}
}

// floatRows are rows x [n,K·d] as they are.
func floatRows(x []float32, n int, d Dims) Rows {
	r := newRows(CacheFloat32, d, false)
	r.n, r.chunks = n, []rowChunk{{room: n, floats: x}}
	return r
}

func (r *Rows) format() cacheFormat { return cacheFormats.Get(r.cache) }

// headBytes is how many bytes a head of a row takes.
func (r *Rows) headBytes() int { return r.format().bytes(r.dim) }

// Len returns n.
func (r *Rows) Len() int { return r.n }

// Bytes returns how many bytes n rows take.
func (r *Rows) Bytes() int { return r.n * r.heads * r.headBytes() }

func (r *Rows) room() int {
	if len(r.chunks) == 0 {
		return 0
	}
	last := r.chunks[len(r.chunks)-1]
	return last.first + last.room
}

func (r *Rows) newChunk(first, room int) rowChunk {
	c := rowChunk{first: first, room: room}
	if r.cache == CacheFloat32 {
		c.floats = make([]float32, room*r.heads*r.dim)
	} else {
		c.bytes = make([]byte, room*r.heads*r.headBytes())
	}
	return c
}

// resize makes n rows of them, with room for more where there is not enough.
func (r *Rows) resize(n, room int) {
	if have := r.room(); n > have {
		room = max(n, room)
		if r.grows {
			r.chunks = append(r.chunks, r.newChunk(have, roundUp(room-have)))
		} else {
			r.move(max(room, have+have/4))
		}
	}
	r.n = n
}

func roundUp(rows int) int { return (rows + chunkRows - 1) / chunkRows * chunkRows }

// move gives all rows one chunk of so much room.
func (r *Rows) move(room int) {
	to := r.newChunk(0, room)
	for _, c := range r.chunks {
		n := min(c.room, r.n-c.first)
		if n <= 0 {
			continue
		}
		if c.floats != nil {
			copy(to.floats[c.first*r.heads*r.dim:], c.floats[:n*r.heads*r.dim])
			continue
		}
		for g := range r.heads {
			copy(r.bytesOf(to, g, c.first, c.first+n), r.bytesOf(c, g, c.first, c.first+n))
		}
	}
	r.chunks = []rowChunk{to}
}

// clone copies the rows.
func (r *Rows) clone() Rows {
	c := *r
	room := r.n
	if r.grows {
		room = roundUp(room)
	}
	c.move(room)
	return c
}

// Put writes rows x [m,K·d] from the i-th one on, rounded to the type of the cache.
func (r *Rows) Put(i int, x []float32) {
	w := r.heads * r.dim
	r.parts(i, i+len(x)/w, func(c rowChunk, lo, hi int) {
		if c.floats != nil {
			copy(c.floats[(lo-c.first)*w:], x[(lo-i)*w:(hi-i)*w])
			return
		}
		size, narrow := r.headBytes(), r.format().narrow
		for row := lo; row < hi; row++ {
			for g := range r.heads {
				narrow(c.bytes[(g*c.room+row-c.first)*size:][:size], x[(row-i)*w+g*r.dim:][:r.dim])
			}
		}
	})
}

// parts calls f for the parts of the rows [from,to) that each chunk has.
func (r *Rows) parts(from, to int, f func(c rowChunk, lo, hi int)) {
	for _, c := range r.chunks {
		if lo, hi := max(from, c.first), min(to, c.first+c.room); lo < hi {
			f(c, lo, hi)
		}
	}
}

// read writes rows [from,to) to dst, [to-from,K·d].
func (r *Rows) read(dst []float32, from, to int) {
	w := r.heads * r.dim
	r.parts(from, to, func(c rowChunk, lo, hi int) {
		if c.floats != nil {
			copy(dst[(lo-from)*w:], c.floats[(lo-c.first)*w:(hi-c.first)*w])
			return
		}
		for row := lo; row < hi; row++ {
			for g := range r.heads {
				r.widen(dst[(row-from)*w+g*r.dim:][:r.dim], c, g, row, row+1)
			}
		}
	})
}

// widen writes KV head g of rows [from,to) of a chunk of bytes to dst, [to-from,d].
func (r *Rows) widen(dst []float32, c rowChunk, g, from, to int) {
	r.format().widen(dst, r.bytesOf(c, g, from, to))
}

// bytesOf returns those of KV head g of rows [from,to) of a chunk.
func (r *Rows) bytesOf(c rowChunk, g, from, to int) []byte {
	size := r.headBytes()
	return c.bytes[(g*c.room+from-c.first)*size : (g*c.room+to-c.first)*size]
}

// Head writes KV head g of a row to dst, [d].
func (r *Rows) Head(dst []float32, row, g int) {
	r.parts(row, row+1, func(c rowChunk, _, _ int) {
		if c.floats != nil {
			copy(dst, c.floats[((row-c.first)*r.heads+g)*r.dim:][:r.dim])
		} else {
			r.widen(dst, c, g, row, row+1)
		}
	})
}

// Floats returns the rows [n,K·d]: where they are, if one chunk holds them in float32, and else a copy.
func (r *Rows) Floats() []float32 {
	if len(r.chunks) == 1 && r.cache == CacheFloat32 {
		return r.chunks[0].floats[:r.n*r.heads*r.dim]
	}
	x := make([]float32, r.n*r.heads*r.dim)
	r.read(x, 0, r.n)
	return x
}

// borrow returns rows [from,to) in a buffer that the caller releases.
func (r *Rows) borrow(from, to int) []float32 {
	x := scratch.Borrow((to - from) * r.heads * r.dim)
	r.read(x, from, to)
	return x
}

// moveHead moves KV head g's part of a row. Rows that move have one chunk.
func (r *Rows) moveHead(to, from, g int) {
	c := r.chunks[0]
	if c.floats != nil {
		copy(c.floats[(to*r.heads+g)*r.dim:][:r.dim], c.floats[(from*r.heads+g)*r.dim:])
		return
	}
	copy(r.bytesOf(c, g, to, to+1), r.bytesOf(c, g, from, from+1))
}

// moveRows moves rows [from,end) to `to`, which is at most from. Rows that move have one chunk.
func (r *Rows) moveRows(to, from, end int) {
	c, w := r.chunks[0], r.heads*r.dim
	if c.floats != nil {
		copy(c.floats[to*w:], c.floats[from*w:end*w])
		return
	}
	for g := range r.heads {
		copy(r.bytesOf(c, g, to, to+end-from), r.bytesOf(c, g, from, end))
	}
}

// pack packs the rows for each KV head. The buffers that it returns are in use as long as the chunk.
func (c *headChunk) pack(transposed bool) (buffers [][]float32) {
	r, n := c.rows, c.end-c.first
	size := kernels.PackedSize(r.dim, n)
	if transposed {
		size = kernels.PackedSize(n, r.dim)
	}
	packed := scratch.Borrow(size * r.heads)
	buffers = append(buffers, packed)
	var wide []float32
	if c.chunk.floats == nil {
		wide = scratch.Borrow(n * r.dim * r.heads)
		buffers = append(buffers, wide)
	}
	c.heads = make([]kernels.Packed, r.heads)
	kernels.Each(r.heads, func(g int) {
		x, ld := headOf(wide, g, n*r.dim), r.dim
		if c.chunk.floats != nil {
			x, ld = c.chunk.floats[g*r.dim:], r.heads*r.dim
		} else {
			r.widen(x, c.chunk, g, c.first, c.end)
		}
		c.heads[g] = packRows(packed[g*size:(g+1)*size], x, ld, n, r.dim, transposed)
	})
	return buffers
}

// packRows packs n rows x [n,d], ld apart; an empty buffer leaves them where they are.
func packRows(buffer, x []float32, ld, n, d int, transposed bool) kernels.Packed {
	if transposed {
		return kernels.Pack(buffer, true, n, d, x, ld)
	}
	return kernels.Pack(buffer, false, d, n, x, ld)
}

// inPlace has products of few rows read the rows where they are: floats, or bytes if transposed.
func (c *headChunk) inPlace(transposed bool) {
	r, n := c.rows, c.end-c.first
	c.heads = make([]kernels.Packed, r.heads)
	for g := range c.heads {
		if c.chunk.floats != nil {
			c.heads[g] = packRows(nil, c.chunk.floats[g*r.dim:], r.heads*r.dim, n, r.dim, transposed)
		} else {
			c.heads[g] = kernels.PackStored(n, r.dim, r.format().stored(r.bytesOf(c.chunk, g, c.first, c.end)))
		}
	}
}

// parts calls f for the parts of the rows [from,to) that each chunk has.
func (h headRows) parts(from, to int, f func(c *headChunk, lo, hi int)) {
	for i := range h.chunks {
		c := &h.chunks[i]
		if lo, hi := max(from, c.first), min(to, c.end); lo < hi {
			f(c, lo, hi)
		}
	}
}

// multiply adds the product of p [m,to-from], whose rows are ld apart, and rows [from,to) of KV head g to out [m,d].
func (h headRows) multiply(g, m int, p []float32, ld, from, to int, out []float32, ldo int) {
	h.parts(from, to, func(c *headChunk, lo, hi int) {
		if c.heads != nil {
			kernels.GemmPackedSerial(false, m, c.rows.dim, hi-lo, 1, p[lo-from:], ld, c.heads[g].From(lo-c.first, 0), 1, out, ldo)
			return
		}
		c.multiplyWidened(g, m, p[lo-from:], ld, lo, hi, out, ldo)
	})
}

// multiplyWidened is multiply for rows in bytes, of which it widens chunkRows at a time: they stay in the nearest cache.
func (c *headChunk) multiplyWidened(g, m int, p []float32, ld, from, to int, out []float32, ldo int) {
	d := c.rows.dim
	x := scratch.Borrow(chunkRows * d)
	defer scratch.Release(x)
	for lo := from; lo < to; {
		start := lo - (lo-c.first)%chunkRows
		hi := min(start+chunkRows, to)
		c.rows.widen(x[:(hi-start)*d], c.chunk, g, start, hi)
		kernels.GemmPackedSerial(false, m, d, hi-lo, 1, p[lo-from:], ld, kernels.Pack(nil, false, d, hi-start, x, d).From(lo-start, 0), 1, out, ldo)
		lo = hi
	}
}

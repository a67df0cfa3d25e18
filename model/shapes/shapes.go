// Package shapes runs the block without numbers: it counts what reading tokens takes, for
// any base, block, schedule and number of tokens. The base may be one of sizes alone
// (model.NewBase without weights), so that a model is judged before it is downloaded.
//
// It is a [model.Backend], and so what it counts is what the block's description and the
// schedule ask for. A prompt is counted with one Feed, token by token reading with as
// many.
package shapes

import (
	"context"

	"eisft/model"
	"eisft/model/schedule"
)

// Shape is all that is known of a value: [Rows,Cols].
type Shape struct{ Rows, Cols int }

// Work is what has been done. Of the operations those of matrix products are counted, as
// multiplications with their additions; norms, exponentials, sums of rows and what is
// masked out are not.
type Work struct {
	Maps        int64 // frozen maps
	Attention   int64 // queries with the keys that they see, and the weights with their values
	MemoryRead  int64 // feature maps of queries, the look-up, the read map and the gate
	MemoryWrite int64 // feature maps of keys, and what they add to the memory
	Scores      int64 // retention scores, or the write gate
	Head        int64 // logits

	// Weights and State are bytes read, once for every stretch: weights of maps and head
	// as they are stored, with what is trained; stored keys and values that some query
	// sees, and the memory. Norms, biases and embeddings are not counted.
	Weights, State int64
}

// Products returns the multiplications of all matrix products.
func (w Work) Products() int64 {
	return w.Maps + w.Attention + w.MemoryRead + w.MemoryWrite + w.Scores + w.Head
}

// Plus returns the sum of both.
func (w Work) Plus(v Work) Work {
	return Work{
		w.Maps + v.Maps, w.Attention + v.Attention, w.MemoryRead + v.MemoryRead, w.MemoryWrite + v.MemoryWrite,
		w.Scores + v.Scores, w.Head + v.Head, w.Weights + v.Weights, w.State + v.State,
	}
}

// Count is the work of a stream.
type Count struct {
	Layers []Work
	Head   Work
}

// Total returns the work of all layers and the head.
func (c Count) Total() Work {
	sum := c.Head
	for _, l := range c.Layers {
		sum = sum.Plus(l)
	}
	return sum
}

// Held is what lies in memory beside the weights, in bytes.
type Held struct {
	State     int64 // keys, values and scores of stored tokens, and the memory
	MostState int64 // until now, new tokens included
	// MostActivations is the most that the values between a layer's steps took, if none is
	// dropped or overwritten before the layer's end; but for the matrix of scores of the
	// attention, which is never whole.
	MostActivations int64
}

// Options say how a stream reads, as those of model.StreamOptions, and in how many bytes
// numbers are held; 0 stands for 4.
type Options struct {
	Soft, NoRouting bool
	CacheBytes      int // of a number in the stored keys and values
	ActivationBytes int // of a number between steps
	// MapBytes gives the bytes of a frozen map's weights; nil: as the base stores them.
	MapBytes func(*model.Linear) int64
	// Graph counts what graphs of fixed shape compute (docs/graphs.md): a stretch of several
	// tokens takes a whole segment of rows, every row meets all places of the cache, seen or
	// not, and the memory is always read.
	Graph bool
}

// Stream reads a sequence.
type Stream struct {
	reader  *model.Reader[Shape]
	counter *counter
}

// NewStream starts an empty sequence.
func NewStream(m *model.Model, o Options) *Stream {
	p := m.Plan()
	p.Soft, p.Routing = o.Soft, !o.NoRouting
	c := &counter{
		model: m, sequence: schedule.New(p), layerOf: map[*model.Linear]int{},
		cacheBytes: bytesOr4(o.CacheBytes), activationBytes: bytesOr4(o.ActivationBytes), mapBytes: o.MapBytes, graph: o.Graph,
		stored: make([]int, len(p.Layers)), work: make([]Work, len(p.Layers)),
	}
	if c.mapBytes == nil {
		c.mapBytes = func(l *model.Linear) int64 { return int64(l.Bytes()) }
	}
	for i, l := range m.Base.Layers {
		for _, f := range l.Maps() {
			c.layerOf[f] = i
		}
	}
	return &Stream{model.NewReader(m, c.sequence, c), c}
}

func bytesOr4(n int) int64 {
	if n == 0 {
		return 4
	}
	return int64(n)
}

// Feed reads n tokens. The output of those before the from-th is not asked for. It fails
// as [model.Reader.Feed] does.
func (s *Stream) Feed(n, from int) error {
	return s.reader.Feed(context.Background(), make([]int32, n), from, nil)
}

// Logits counts those of n tokens.
func (s *Stream) Logits(n int) { s.reader.Logits(nil, Shape{n, s.counter.model.Base.Dims.Hidden}) }

// Take returns what has been done since the stream began, or since the last Take.
func (s *Stream) Take() Count {
	c := Count{s.counter.work, s.counter.head}
	s.counter.work, s.counter.head = make([]Work, len(c.Layers)), Work{}
	return c
}

// Stored returns how many tokens a layer stores.
func (s *Stream) Stored(layer int) int { return s.counter.stored[layer] }

// Evicted says whether the memory is in use.
func (s *Stream) Evicted() bool { return s.counter.sequence.Evicted() }

// Held returns what lies in memory.
func (s *Stream) Held() Held {
	h := s.counter.held
	h.State = s.counter.stateBytes()
	return h
}

// counter is the backend.
type counter struct {
	model                       *model.Model
	sequence                    *schedule.Sequence
	layerOf                     map[*model.Linear]int
	cacheBytes, activationBytes int64
	mapBytes                    func(*model.Linear) int64
	graph                       bool

	stored []int // tokens of each layer
	work   []Work
	head   Work
	held   Held

	// Of a stretch:
	past    []int        // tokens that each layer has stored before
	unread  []int        // of these, the first ones that no query has seen
	looked  []bool       // whether a layer's memory has been read
	weights map[any]bool // that have been read
	blocks  []*block
	tokens  int // that are new
}

// block is the backend of some rows of a stretch.
type block struct {
	*counter
	first int
	bytes int64 // of values that are held
}

// Begin implements [model.Backend]. Tokens whose output is not asked for are a block of
// their own.
func (c *counter) Begin(ids []int32, wanted int) ([]model.Block[Shape], error) {
	c.past, c.weights, c.blocks = append(c.past[:0], c.stored...), map[any]bool{}, nil
	c.unread, c.looked = append(c.unread[:0], c.stored...), make([]bool, len(c.stored))
	c.tokens = len(ids)
	if c.graph {
		return []model.Block[Shape]{c.wholeSegment()}, nil
	}
	var blocks []model.Block[Shape]
	for _, rows := range [][2]int{{0, wanted}, {wanted, len(ids)}} {
		if rows[0] < rows[1] {
			b := &block{counter: c, first: rows[0]}
			c.blocks = append(c.blocks, b)
			x := b.made(Shape{rows[1] - rows[0], c.model.Base.Dims.Hidden})
			blocks = append(blocks, model.Block[Shape]{Ops: b, X: x, Unwanted: rows[1] <= wanted})
		}
	}
	return blocks, nil
}

// wholeSegment is the block of a graph's rows: one, or as many as a segment has.
func (c *counter) wholeSegment() model.Block[Shape] {
	rows := 1
	if c.tokens > 1 {
		rows = c.model.Spec.Segment
	}
	b := &block{counter: c}
	c.blocks = append(c.blocks, b)
	return model.Block[Shape]{Ops: b, X: b.made(Shape{rows, c.model.Base.Dims.Hidden})}
}

// Each implements [model.Backend].
func (c *counter) Each(n int, f func(block int)) {
	for i := range n {
		f(i)
	}
}

// Carry implements [model.Backend].
func (c *counter) Carry(block int, x Shape) Shape {
	b := c.blocks[block]
	b.bytes = 0
	return b.made(x)
}

// Meet implements [model.Backend].
func (c *counter) Meet(*model.Layer, []Shape) {
	c.held.MostState = max(c.held.MostState, c.stateBytes())
}

// Commit implements [model.Backend].
func (c *counter) Commit(layers []schedule.Turnover) {
	spec, d := c.model.Spec, c.model.Base.Dims
	c.weights = map[any]bool{}
	for i, t := range layers {
		c.stored[i] -= t.Candidates - t.Stay
		if !spec.HasMemory() || t.Written == 0 {
			continue
		}
		n := int64(t.Written)
		c.work[i].MemoryWrite += c.parameter(i, c.model.Params.Layers[i].FeatureK, n)
		c.work[i].MemoryWrite += n * c.memorySize()
		if spec.Memory.Corrects() { // looks up what is there first
			c.work[i].MemoryWrite += n * c.memorySize()
		}
		c.work[i].State += 4*c.memorySize() + n*c.tokenBytes(d)
	}
}

// End implements [model.Backend].
func (c *counter) End(blocks []model.Block[Shape], emit func(hidden Shape) error) error {
	if emit == nil {
		return nil
	}
	last := blocks[len(blocks)-1]
	if last.Unwanted {
		return emit(Shape{0, last.X.Cols})
	}
	return emit(last.X)
}

// Logits implements [model.Backend]; there are none to write.
func (c *counter) Logits(_ []float32, hidden Shape) {
	h := c.model.Base.Head
	c.head.Head += int64(hidden.Rows) * int64(h.In) * int64(h.Out)
	c.head.Weights += c.mapBytes(h)
	c.held.MostActivations = max(c.held.MostActivations, c.activationBytes*int64(hidden.Rows)*int64(h.In+h.Out))
}

// memorySize returns the numbers of a layer's memory.
func (c *counter) memorySize() int64 {
	return int64(model.Memory{Spec: c.model.Spec, Dims: c.model.Base.Dims}.Size())
}

// tokenBytes returns what keys and values of a token take.
func (c *counter) tokenBytes(d model.Dims) int64 {
	return 2 * int64(d.KVHeads*d.HeadDim) * c.cacheBytes
}

func (c *counter) stateBytes() int64 {
	d, n := c.model.Base.Dims, int64(0)
	for i, stored := range c.stored {
		if c.graph {
			stored = c.model.Spec.At(i).Capacity()
		}
		n += int64(stored) * c.tokenBytes(d)
		if c.model.Spec.At(i).HasScore() {
			n += 4 * int64(stored*d.KVHeads)
		}
		if c.model.Spec.HasMemory() {
			n += 4 * c.memorySize()
		}
	}
	return n
}

// parameter returns the products of a number of rows with a trained parameter of a layer,
// each of whose numbers meets each row once; 0 without one.
func (c *counter) parameter(layer int, p *model.Param, rows int64) int64 {
	if p == nil {
		return 0
	}
	c.read(layer, p, 4*int64(len(p.Data)))
	return rows * int64(len(p.Data))
}

// read counts the bytes of weights that the stretch reads.
func (c *counter) read(layer int, weights any, bytes int64) {
	if !c.weights[weights] {
		c.weights[weights] = true
		c.work[layer].Weights += bytes
	}
}

// made notes a new value.
func (b *block) made(x Shape) Shape {
	b.bytes += b.activationBytes * int64(x.Rows) * int64(x.Cols)
	total := int64(0)
	for _, o := range b.blocks {
		total += o.bytes
	}
	b.held.MostActivations = max(b.held.MostActivations, total)
	return x
}

func (b *block) Norm(_ *model.Norm, x Shape) Shape { return b.made(x) }

func (b *block) Copy(x Shape) Shape { return b.made(x) }

func (b *block) Linear(l *model.Linear, x Shape) Shape {
	i := b.layerOf[l]
	b.work[i].Maps += int64(x.Rows) * int64(l.In) * int64(l.Out)
	b.read(i, l, b.mapBytes(l))
	return b.made(Shape{x.Rows, l.Out})
}

func (b *block) GatedProduct(_ *model.Layer, gate, _ Shape) Shape { return b.made(gate) }

func (b *block) Residual(_ *model.Layer, x, _ Shape) Shape { return b.made(x) }

func (b *block) Remember(l *model.Layer, _, k, _ Shape) {
	fresh := k.Rows
	if b.graph {
		fresh = b.tokens // rows beyond are padding
	}
	b.stored[l.Index] += fresh
	if s := b.model.Params.Layers[l.Index].TokenScore(); s != nil {
		b.work[l.Index].Scores += b.parameter(l.Index, s.HiddenWeight, int64(k.Rows)) + b.parameter(l.Index, s.Weight, int64(k.Rows))
	}
}

func (b *block) MemoryInUse() bool { return b.graph || b.sequence.Evicted() }

func (b *block) ReadMemory(l *model.Layer, q Shape) Shape {
	d, p, w := b.model.Base.Dims, &b.model.Params.Layers[l.Index], &b.work[l.Index]
	rows := int64(q.Rows)
	w.MemoryRead += b.parameter(l.Index, p.FeatureQ, rows) + b.parameter(l.Index, p.ReadMap, rows)
	w.MemoryRead += rows * b.memorySize() * int64(d.Heads/d.KVHeads)
	if !b.looked[l.Index] {
		b.looked[l.Index] = true
		w.State += 4 * b.memorySize()
	}
	return b.made(Shape{q.Rows, d.Heads * (d.HeadDim + 1)})
}

func (b *block) GateLogit(l *model.Layer, q, _ Shape) Shape {
	params := b.model.Params.Layers[l.Index].Gate
	for _, p := range params[1:] { // of the term beside the bias
		b.work[l.Index].MemoryRead += b.parameter(l.Index, p, int64(q.Rows))
	}
	return b.made(Shape{q.Rows, len(params[0].Data)})
}

func (b *block) Attend(l *model.Layer, q, _, _ Shape, _ *model.Column[Shape]) Shape {
	i, d := l.Index, b.model.Base.Dims
	if b.graph {
		return b.attendAll(l, q)
	}
	place, pairs := b.past[i]+b.first, 0
	for t := range q.Rows {
		from, to := schedule.Visible(place+t, l.SlidingWindow)
		pairs += to - from
	}
	b.work[i].Attention += 2 * int64(d.Heads*d.HeadDim) * int64(pairs)
	if from, _ := schedule.Visible(place, l.SlidingWindow); from < b.unread[i] {
		b.work[i].State += int64(b.unread[i]-from) * b.tokenBytes(d)
		b.unread[i] = from
	}
	return b.made(q)
}

// attendAll is attention to all places of a graph, whose scores are there as a whole, before
// and after the softmax.
func (b *block) attendAll(l *model.Layer, q Shape) Shape {
	d, places := b.model.Base.Dims, b.model.Spec.At(l.Index).Capacity()
	b.made(Shape{2 * d.Heads * q.Rows, places + q.Rows})
	b.work[l.Index].Attention += 2 * int64(d.Heads*d.HeadDim) * int64(q.Rows) * int64(places+q.Rows)
	b.work[l.Index].State += int64(places) * b.tokenBytes(d)
	return b.made(q)
}

func (b *block) Mix(_ *model.Layer, _, _, local Shape) Shape { return b.made(local) }

package model

import (
	"context"
	"fmt"

	"eisft/model/kernels"
	"eisft/internal/scratch"
)

// Model is a frozen base with a block and its trained parameters. It is
// read-only: any number of streams may run over it.
type Model struct {
	Base   *Base
	Spec   Spec
	Params *Params
}

// New joins a base, a block and its parameters (nil: untrained ones).
func New(b *Base, s Spec, p *Params) (*Model, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("block: %w", err)
	}
	if n := len(s.SlotLayers); n > 0 && s.SlotLayers[n-1] >= len(b.Layers) {
		return nil, fmt.Errorf("block: slot_layers is %v, but the base has the layers 0 to %d", s.SlotLayers, len(b.Layers)-1)
	}
	if p == nil {
		p = NewParams(s, b.Dims, len(b.Layers))
	}
	return &Model{Base: b, Spec: s, Params: p}, nil
}

// unbounded is a window that no sequence leaves.
const unbounded = 1 << 40

// FullAttention is the block that keeps every token: the base model itself,
// read in segments of the given length.
func FullAttention(segment int) Spec {
	return Spec{Window: unbounded, Segment: segment, Positions: PositionsCompact, Memory: MemoryNone}
}

// WindowOnly is s without slots and memory: sinks and window alone.
func WindowOnly(s Spec) Spec {
	return Spec{Sink: s.Sink, Window: s.Window, Segment: s.Segment, Positions: s.Positions, Memory: MemoryNone}
}

// Tape is told what a training pass needs to run the block backward. Slices
// are valid during the call only.
type Tape interface {
	// Layer is called with what layer i reads, x [T,D] and p.
	Layer(i int, x []float32, p Past)
	// Output is called with the last layer's output, before the final norm, of the
	// stretch's last tokens [n,D]: those that Feed was asked for, if there are any.
	Output(x []float32)
	// Remember is called with the new tokens' normed input [T,D] after that.
	Remember(i int, h []float32)
	// Write is called before layer i's memory [K,F,d+1] takes up w; tokens
	// [m,K] are the indices in the sequence.
	Write(i int, w Written, tokens []int32, memory []float32)
}

// Past is what a layer sees beside the new tokens.
type Past struct {
	Attention Attention
	SlotToken []int32   // [N,K] index in the sequence of the tokens in the slots
	Memory    []float32 // [K,F,d+1], or nil while nothing has left the window
}

// Wrap lets another backend take part in a stream's forward pass: it receives
// the slice backend of some tokens, of which the first-th of the sequence is the
// first, and returns what is run in its place. Those of a stretch run side by side.
type Wrap func(o Ops[[]float32], first int) Ops[[]float32]

// StreamOptions choose how a stream reads.
type StreamOptions struct {
	// Soft keeps every token that left the window visible, its logits raised by
	// log σ(ρ): the form that slots are trained in (method, section 5). A block
	// without slots has no such form.
	Soft bool
	// NoRouting builds state for prompts that would fit into S+W+L as well.
	// Otherwise such a prompt runs through the untouched base model.
	NoRouting bool
	// Tape, if not nil, records the pass for training.
	Tape Tape
	// Wrap, if not nil, decorates the backend.
	Wrap Wrap
}

// Stream reads one sequence segment by segment.
type Stream struct {
	State   *State
	model   *Model
	options StreamOptions
	held    bool // the prompt is short: nothing is committed yet
	// expected is how many tokens a layer that keeps all would store in the end.
	expected int

	// Working memory of a commit.
	choice  []int   // [K, Candidates], see Turnover.Choose
	written []int32 // [m,K] indices in the sequence of what enters the memory
}

// NewStream starts an empty sequence.
func (m *Model) NewStream(o StreamOptions) *Stream {
	o.Soft = o.Soft && m.Spec.Slots > 0
	return &Stream{
		model: m, options: o,
		State: newState(m.Spec, m.Base.Dims, len(m.Base.Layers)),
	}
}

// Feed reads tokens. emit, if not nil, is called for every stretch of at most
// a segment with the hidden states after the final norm [n,D] of those of its
// tokens that are ids[from] or later, and the index in ids of the first of them:
// the stretch's end if it has none. They are valid during the call only. Of
// tokens before `from`, the last layer computes what its state needs, up to the
// projections, and no attention and feed-forward.
// Cancelling ctx stops between stretches. It fails where a position would be
// out of reach of the base's rotary embedding (see [Rotary]).
func (st *Stream) Feed(ctx context.Context, ids []int32, from int, emit func(first int, hidden []float32) error) error {
	if err := st.checkIDs(ids); err != nil {
		return err
	}
	st.expected = st.State.Stored() + len(ids)
	short := st.model.Spec.Sink + st.model.Spec.Window + st.model.Spec.Segment
	if st.State.Seen == 0 {
		st.held = !st.options.NoRouting && len(ids) <= short
	}
	for first := 0; first < len(ids); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(ids)-first, st.nextRows(short))
		if err := st.checkPositions(n); err != nil {
			return err
		}
		wanted := min(max(from-first, 0), n)
		x := st.forward(ids[first:first+n], wanted)
		var err error
		if emit != nil {
			err = emit(first+wanted, x[wanted*st.model.Base.Dims.Hidden:])
		}
		scratch.Release(x)
		if err != nil {
			return err
		}
		first += n
	}
	return nil
}

func (st *Stream) checkIDs(ids []int32) error {
	vocab := st.model.Base.Embed.Out
	for i, id := range ids {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("token %d of the input has id %d, but the model's vocabulary has %d entries; the tokenizer belongs to another model", st.State.Seen+i, id, vocab)
		}
	}
	return nil
}

// checkPositions reports that the next n tokens would go too far.
func (st *Stream) checkPositions(n int) error {
	for i, l := range st.model.Base.Layers {
		if err := l.Rotary.check(st.position(st.parts(i)) + n); err != nil {
			return err
		}
	}
	return nil
}

// nextRows returns how many tokens the next stretch may have, after committing
// what is complete.
func (st *Stream) nextRows(short int) int {
	s, segment := st.State, st.model.Spec.Segment
	if st.held {
		if s.Seen < short {
			return min(segment, short-s.Seen)
		}
		st.held = false
	}
	for s.Recent >= segment {
		st.commit(segment)
	}
	return segment - s.Recent
}

// forward runs the layers over one stretch and returns the hidden states after
// the final norm [T,D], arbitrary values for the rows before the first wanted one;
// the caller releases them.
func (st *Stream) forward(ids []int32, wanted int) []float32 {
	b, rows, d := st.model.Base, len(ids), st.model.Base.Dims.Hidden
	x := scratch.Borrow(rows * d)
	b.embed(x, ids)
	st.newStretch(rows, wanted).forward(x)
	if st.options.Tape != nil && wanted < rows {
		st.options.Tape.Output(x[wanted*d:])
	}
	st.State.Recent += rows
	st.State.Seen += rows
	if !st.held && st.State.Recent == st.model.Spec.Segment {
		st.commit(st.model.Spec.Segment)
	}
	out := x[wanted*d:]
	kernels.RMSNorm(out, out, b.Norm.Weight, rows-wanted, d, b.Norm.Eps)
	return x
}

// backend is the slice backend as the options decorate it.
func (st *Stream) backend(e *eager) Ops[[]float32] {
	if st.options.Wrap == nil {
		return e
	}
	return st.options.Wrap(e, st.State.Seen+e.first)
}

// Logits writes the logits [n,V] of hidden states [n,D] that Feed has handed
// out, with the backend that the stream runs on: a decorated one may change
// the hidden states.
func (st *Stream) Logits(dst, hidden []float32) {
	e := &eager{stretch: &stretch{stream: st}, rows: len(hidden) / st.model.Base.Dims.Hidden}
	copy(dst, st.backend(e).Linear(st.model.Base.Head, hidden))
	e.release()
}

// past describes what layer i sees: its first `stored` tokens and its memory.
func (st *Stream) past(i, stored int, a angles) Past {
	s, d, l := st.State, st.model.Base.Dims, &st.State.Layers[i]
	w, parts := d.KVHeads*d.HeadDim, st.parts(i)
	p := Past{Attention: Attention{
		Dims: d, Scale: st.model.Base.Layers[i].AttentionScale, PastK: l.Rotated[:stored*w], PastV: l.V[:stored*w], Past: stored,
		SlotAt: s.Sinks, Soft: st.options.Soft, SlidingWindow: st.model.Base.Layers[i].SlidingWindow, Cos: a.cos, Sin: a.sin,
	}}
	if l.Score != nil && st.model.Spec.Slots > 0 {
		from, to := s.Sinks*d.KVHeads, (s.Sinks+parts.Slots)*d.KVHeads
		p.Attention.Score, p.SlotToken = l.Score[from:to], l.Token[from:to]
	}
	if s.Evicted {
		p.Memory = l.Memory
	}
	return p
}

// place is what the rotary tables of new tokens depend on.
type place struct {
	rotary   *Rotary
	position int // of the first token
}

// angles are rotary tables, [n,m] each.
type angles struct {
	cos, sin []float32
	m        int
}

// from returns the tables of n tokens from the i-th one on.
func (a angles) from(i, n int) (cos, sin []float32) {
	return a.cos[i*a.m : (i+n)*a.m], a.sin[i*a.m : (i+n)*a.m]
}

// place returns that of layer i.
func (st *Stream) place(i int) place {
	return place{st.model.Base.Layers[i].Rotary, st.position(st.parts(i))}
}

// position returns the rotary position of the next token in a layer with these parts.
func (st *Stream) position(p Parts) int {
	if st.model.Spec.Positions == PositionsAbsolute {
		return st.State.Seen
	}
	return p.Stored()
}

// room returns how many tokens a layer with the block s will store, as far as is known.
func (st *Stream) room(s Spec) int {
	if st.options.Soft && s.Slots > 0 { // keeps all
		return st.expected
	}
	return min(st.expected, s.Capacity())
}

// parts counts the stored tokens of layer i.
func (st *Stream) parts(i int) Parts { return st.State.In(st.model.Spec.At(i)) }

// Logits writes the logits [n,V] of hidden states [n,D].
func (m *Model) Logits(dst, hidden []float32) { m.Base.Head.Apply(dst, hidden) }

package model

import (
	"fmt"

	"eisft/model/schedule"
)

// Model is a frozen base with a block and its trained parameters. It is
// read-only: any number of streams may run over it.
type Model struct {
	Base   *Base
	Spec   Spec
	Params *Params
	// Eviction, if not nil, chooses the tokens of the slots, see [NewEvicting].
	Eviction *Eviction
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

// FullAttention is the block that keeps every token: the base model itself,
// read in segments of the given length.
func FullAttention(segment int) Spec {
	return Spec{Window: schedule.Unbounded, Segment: segment, Positions: PositionsCompact, Memory: MemoryNone}
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
	// LogSums is called when some rows of the stretch, of which first is the first, attend in
	// layer i, and returns room [rows,H] for the logs of their sums of exponentials (see
	// [Attention.Forward]), nil if they are not wanted. Cores call it side by side.
	LogSums(i, first, rows int) []float32
	// Remember is called with the new tokens' normed input [T,D] after that.
	Remember(i int, h []float32)
	// Write is called before layer i's memory [K,F,d+1] takes up w; tokens
	// [m,K] are the indices in the sequence.
	Write(i int, w Written, tokens []int32, memory []float32)
}

// Past is what a layer sees beside the new tokens.
type Past struct {
	Attention Attention
	Memory    []float32 // [K,F,d+1], or nil while nothing has left the window
}

// Wrap lets another backend take part in a stream's forward pass: it receives
// the slice backend of some tokens, of which the first-th of the sequence is the
// first, and returns what is run in its place. Those of a stretch run side by side.
type Wrap func(o Ops[[]float32], first int) Ops[[]float32]

// StreamOptions choose how a stream reads.
type StreamOptions struct {
	// Soft keeps every token that left the window visible, its logits raised by
	// log σ(ρ), with decay times its age: the form that slots are trained in (docs/method.md, section 5). A block
	// without slots, or with slots by an Eviction, has no such form.
	Soft bool
	// NoRouting builds state for prompts that would fit into S+W+L as well.
	// Otherwise such a prompt runs through the untouched base model.
	NoRouting bool
	// Cache is how keys and values of stored tokens are held; "" is float32, and for a state
	// that is opened the type that it was saved with. See [Base.CheckCache].
	Cache CacheType
	// Tape, if not nil, records the pass for training.
	Tape Tape
	// Wrap, if not nil, decorates the backend.
	Wrap Wrap
	// Embed, if not nil, takes the place of the base's embeddings: it writes what the first
	// layer reads of ids, x [n,D]. Ids need not be tokens then: those of a stream over some
	// of a base's layers may number the rows of what the layers before have put out.
	Embed func(x []float32, ids []int32) error
}

// Stream reads one sequence segment by segment, with slices of floats.
type Stream struct {
	*Reader[[]float32]
	State   *State
	options StreamOptions
}

// NewStream starts an empty sequence.
func (m *Model) NewStream(o StreamOptions) *Stream {
	o.Soft = o.Soft && m.Spec.Slots > 0 && m.Eviction == nil
	return m.newStream(o, newState(m, schedule.New(o.Plan(m)), o))
}

// Plan is the schedule of a model's streams, as the options have it.
func (o StreamOptions) Plan(m *Model) schedule.Plan {
	p := m.Plan()
	p.Soft, p.Routing = o.Soft, !o.NoRouting
	return p
}

// newStream goes on from a state.
func (m *Model) newStream(o StreamOptions, s *State) *Stream {
	return &Stream{Reader: NewReader(m, s.Sequence, &floats{model: m, options: o, state: s}), State: s, options: o}
}

// StateBytes returns what is held of the sequence: keys before and after rotary embedding,
// values, scores and indices of stored tokens, memories, and what an eviction knows of
// queries.
func (st *Stream) StateBytes() int64 {
	n, rows := 0, 0
	for i, l := range st.State.Layers {
		l.trim(st.State.Parts(i).Stored(), st.model.Base.Dims)
		rows += l.K.Bytes() + l.V.Bytes() + l.Rotated.Bytes()
		n += len(l.Score) + len(l.Token) + len(l.Memory) + len(l.Queries)
	}
	return int64(rows + 4*n)
}

// Logits writes the logits [n,V] of hidden states [n,D].
func (m *Model) Logits(dst, hidden []float32) {
	m.Base.Head.Apply(dst, hidden)
	m.Base.FinishLogits(dst)
}

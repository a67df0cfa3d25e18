package model

import (
	"context"
	"errors"
	"fmt"

	"eisft/model/schedule"
)

// Backend is one way of carrying a sequence out, for a [Reader]: it embeds tokens, has
// the block's steps, keeps what a layer stores, and makes logits. It knows the
// [schedule.Sequence] that the reader goes by. The floats of [Stream] are one; package
// shapes, without numbers, is another.
//
// Tokens are read a stretch at a time, and the calls are, in this order: Begin; for every
// layer the block's steps up to Remember, Meet, and the other steps, with Carry after
// each layer; Commit, if the stretch ends a segment; End. A commit may also come before
// Begin.
type Backend[V any] interface {
	// Begin starts a stretch. Its tokens go through the layers as blocks of rows, which may
	// do so side by side: one block is enough. The output of tokens before the wanted-th of
	// ids is not asked for.
	Begin(ids []int32, wanted int) ([]Block[V], error)
	// Each calls f for blocks 0 to n-1, which have nothing to do with each other.
	Each(n int, f func(block int))
	// Carry returns a block's hidden states x between two layers in a form that lasts: of
	// all else that its steps have made since the last Carry, nothing is used any more.
	Carry(block int, x V) V
	// Meet is called when all blocks have given the layer's new keys and values to
	// Remember, and before the first Attend, with the queries of each block before rotary
	// embedding.
	Meet(l *Layer, queries []V)
	// Commit moves what each layer stores at the end of a segment: see package schedule.
	// What does not stay in the slots is written to the memory (docs/method.md, section 4).
	Commit(layers []schedule.Turnover)
	// End is called with the outputs of the last layer and calls emit, if it is not nil,
	// with the hidden states after the final norm [n,D] of the wanted tokens, which are
	// valid during the call. It returns emit's error, or that of a step.
	End(blocks []Block[V], emit func(hidden V) error) error
	// Logits writes the logits [n,V] of hidden states that End has handed out.
	Logits(dst []float32, hidden V)
}

// Block is some consecutive tokens of a stretch.
type Block[V any] struct {
	Ops Ops[V]
	X   V // their hidden states [n,D]: the embeddings at first
	// Unwanted is true where the output of none of them is asked for: the last layer
	// computes what its state needs, up to the projections.
	Unwanted bool
}

// Reader reads one sequence with a backend, segment by segment.
type Reader[V any] struct {
	model    *Model
	sequence *schedule.Sequence
	backend  Backend[V]
}

// NewReader joins a model, the schedule of its sequence and what carries it out.
func NewReader[V any](m *Model, s *schedule.Sequence, b Backend[V]) *Reader[V] {
	return &Reader[V]{model: m, sequence: s, backend: b}
}

// Feed reads tokens. emit, if not nil, is called for every stretch of at most
// a segment with the hidden states after the final norm [n,D] of those of its
// tokens that are ids[from] or later, and the index in ids of the first of them:
// the stretch's end if it has none. They are valid during the call only. Of
// tokens before `from`, the last layer computes what its state needs, up to the
// projections, and no attention and feed-forward.
// Cancelling ctx stops between stretches. It fails where a position would be
// out of reach of the base's rotary embedding (see [Rotary]).
func (r *Reader[V]) Feed(ctx context.Context, ids []int32, from int, emit func(first int, hidden V) error) error {
	if err := r.model.Base.checkIDs(ids, r.Seen()); err != nil {
		return err
	}
	r.sequence.Begin(len(ids))
	for first := 0; first < len(ids); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := r.sequence.Next()
		r.commit()
		if err := r.checkPositions(n); err != nil {
			return err
		}
		wanted := min(max(from-first, 0), n)
		var take func(hidden V) error
		if emit != nil {
			take = func(hidden V) error { return emit(first+wanted, hidden) }
		}
		if err := r.stretch(ids[first:first+n], wanted, take); err != nil {
			return err
		}
		first += n
	}
	return nil
}

// checkIDs reports an id that is no token, of those from the first-th token of a text on.
func (b *Base) checkIDs(ids []int32, first int) error {
	vocab := b.Embed.Out
	for i, id := range ids {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("token %d of the input has id %d, but the model's vocabulary has %d entries; the tokenizer belongs to another model", first+i, id, vocab)
		}
	}
	return nil
}

// checkPositions reports that the next n tokens would go too far.
func (r *Reader[V]) checkPositions(n int) error {
	for i, l := range r.model.Base.Layers {
		if err := l.Rotary.check(r.sequence.Position(i) + n); err != nil {
			return err
		}
	}
	return nil
}

// stretch reads tokens at once.
func (r *Reader[V]) stretch(ids []int32, wanted int, emit func(hidden V) error) error {
	blocks, err := r.backend.Begin(ids, wanted)
	if err != nil {
		return err
	}
	r.layers(blocks)
	r.sequence.Advance(len(ids))
	r.commit()
	return r.backend.End(blocks, emit)
}

// layers takes blocks of rows through all layers. They meet once a layer, where its keys
// must all be there.
func (r *Reader[V]) layers(blocks []Block[V]) {
	layers, spec, b := r.model.Base.Layers, r.model.Spec, r.backend
	waiting := make([]projected[V], len(blocks)) // for attention
	queries := make([]V, len(blocks))
	for i := range len(layers) + 1 {
		b.Each(len(blocks), func(j int) {
			k := &blocks[j]
			if i > 0 {
				x := k.X
				if i < len(layers) || !k.Unwanted {
					x = finish(k.Ops, spec, layers[i-1], x, waiting[j])
				}
				k.X = b.Carry(j, x)
			}
			if i < len(layers) {
				waiting[j] = begin(k.Ops, layers[i], k.X)
			}
		})
		if i < len(layers) {
			for j, p := range waiting {
				queries[j] = p.q
			}
			b.Meet(layers[i], queries)
		}
	}
}

// commit commits the segments that are due.
func (r *Reader[V]) commit() {
	for r.sequence.Due() {
		r.backend.Commit(r.sequence.Commit())
	}
}

// Seen returns how many tokens have been read.
func (r *Reader[V]) Seen() int { return r.sequence.Seen() }

// Logits writes the logits [n,V] of hidden states [n,D] that Feed has handed
// out, with the backend that the sequence is read with.
func (r *Reader[V]) Logits(dst []float32, hidden V) { r.backend.Logits(dst, hidden) }

// Read feeds ids and returns the logits [V] of what comes next. progress, if
// not nil, is called with the number of ids read so far.
func (r *Reader[V]) Read(ctx context.Context, ids []int32, progress func(done int)) ([]float32, error) {
	if len(ids) == 0 {
		return nil, errors.New("there is nothing to read: the input has no tokens")
	}
	next, start := make([]float32, r.model.Base.Head.Out), r.Seen()
	err := r.Feed(ctx, ids, len(ids)-1, func(_ int, hidden V) error {
		done := r.Seen() - start
		if done == len(ids) {
			r.Logits(next, hidden)
		}
		if progress != nil {
			progress(done)
		}
		return nil
	})
	return next, err
}

// Generate writes tokens one by one, from the logits next [V] that Read
// returned (they are overwritten) up to a stop token or MaxNewTokens. It
// returns them without the stop token. The stream has then read what was
// returned, but not the stop token. When ctx is cancelled or Token fails, the
// tokens written until then come with the error.
func (r *Reader[V]) Generate(ctx context.Context, next []float32, o GenerateOptions) ([]int32, error) {
	out, err := Generate(next, o, func(ids []int32) error {
		return r.Feed(ctx, ids, 0, func(_ int, hidden V) error {
			r.Logits(next, hidden)
			return nil
		})
	})
	if errors.Is(err, ErrNotNumbers) {
		err = fmt.Errorf("token %d of the answer: %w", len(out)+1, r.model.NotNumbers())
	}
	return out, err
}

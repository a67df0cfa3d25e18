package host

import (
	"errors"
	"math"
	"slices"

	"eisft/export/ort"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/schedule"
)

// writer is the commit graph with its tensors.
type writer struct {
	*bound
	decay   []float32 // [1]
	layers  []evicted
	cos     []float32 // [d/2], of one position, to undo a rotary embedding
	sin     []float32
	reverse []float32 // a key [d]
}

// evicted is what a layer's memory takes up in one commit.
type evicted struct {
	keys, values        tokens    // L places
	weights             []float32 // [K,L]
	memory, newMemory   ort.Tensor
	memoryZ, newMemoryZ ort.Tensor
}

// newWriter binds the commit graph to the memories that a main graph reads.
func (m *Model) newWriter(from *reader) (*writer, error) {
	b, err := m.bind(m.commit, from.shared(m.commit.Graph, "memory", "memory_mass"))
	if err != nil {
		return nil, err
	}
	n, d := m.Shape.Segment, m.headDim
	w := &writer{bound: b, cos: make([]float32, d/2), sin: make([]float32, d/2), reverse: make([]float32, d)}
	w.decay = b.write("decay", none, 1)
	for i := range m.layers {
		w.layers = append(w.layers, evicted{
			keys:       b.keyTokens(b.input, i, m.heads, 1, d, n),
			values:     b.valueTokens(b.input, i, m.heads, 1, n, d),
			weights:    b.write("weight", i, m.heads, 1, n, 1),
			memory:     b.input("memory", i, m.heads, 1, m.features, d),
			memoryZ:    b.input("memory_mass", i, m.heads, 1, m.features, 1),
			newMemory:  b.output("memory", i, m.heads, 1, m.features, d),
			newMemoryZ: b.output("memory_mass", i, m.heads, 1, m.features, 1),
		})
	}
	if b.err != nil {
		return nil, errors.Join(b.err, b.Close())
	}
	return w, nil
}

// memoryColumn is what the mask holds for the memory.
func (st *Stream) memoryColumn() float32 {
	switch written := st.Written(); {
	case !st.sequence.Evicted() || st.writer == nil:
		return st.model.mask
	case st.model.logTerm && written == 0:
		return float32(math.Log(st.model.empty))
	case st.model.logTerm:
		return float32(math.Log(float64(written)))
	default:
		return 0
	}
}

// commit ends the segments that are complete: sinks, window and slots move up, and what
// is for neither goes to the memory.
func (st *Stream) commit() error {
	for st.sequence.Due() {
		before := st.Written()
		turnovers := st.sequence.Commit()
		after := st.Written()
		for i, t := range turnovers {
			st.commitLayer(i, t, st.model.scale/float32(after))
		}
		if after > before && st.writer != nil {
			if err := st.write(float32(before) / float32(after)); err != nil {
				return err
			}
		}
	}
	return nil
}

// commitLayer moves a layer's stored tokens up and hands what it drops to the writer, each
// token with its share of the tokens written in the end, in the scale of the state.
func (st *Stream) commitLayer(i int, t schedule.Turnover, share float32) {
	l := &st.layers[i]
	for g := range st.model.heads {
		rank := func(place int) int { return model.Rank(l.score[g][place]) }
		if st.model.decay {
			rank = func(place int) int { return model.RankAt(l.score[g][place], l.age(t, g, place)) }
		}
		kept, dropped := t.Choose(make([]int, t.Candidates), rank)
		if st.writer != nil {
			st.evict(i, g, t, dropped, share)
		}
		l.move(g, t.First, slices.Concat(kept, span(t.First+t.Candidates, t.Stored)))
	}
}

// age is that of a head's token after a commit.
func (l *layer) age(t schedule.Turnover, head, place int) int {
	return t.Committed - int(l.token[head][place])
}

// move makes the given rows of a head follow each other from row `at` on.
func (l *layer) move(head, at int, rows []int) {
	l.keys.copyTo(l.keys, head, at, rows)
	l.values.copyTo(l.values, head, at, rows)
	for j, r := range rows {
		if l.score != nil {
			l.score[head][at+j] = l.score[head][r]
		}
		l.token[head][at+j] = l.token[head][r]
	}
}

// evict lays the rows that a head drops out for the commit graph, each with its ω times
// share; empty places weigh nothing.
func (st *Stream) evict(i, g int, t schedule.Turnover, rows []int, share float32) {
	m, l, e := st.model, &st.layers[i], &st.writer.layers[i]
	l.keys.copyTo(e.keys, g, 0, rows)
	l.values.copyTo(e.values, g, 0, rows)
	n := m.Shape.Segment
	weights := e.weights[g*n : (g+1)*n]
	clear(weights)
	for j, r := range rows {
		weights[j] = share
		switch {
		case l.score != nil && m.decay:
			_, _, rest := model.Kept(l.score[g][r], l.age(t, g, r))
			weights[j] *= rest
		case l.score != nil:
			weights[j] *= kernels.Sigmoid1(m.scoreSign() * l.score[g][r])
		}
		if m.plan.Absolute {
			st.unrotate(m.layerKind(i), e.keys, g, j, int(l.token[g][r]))
		}
	}
}

// unrotate takes the rotary embedding of a position off the key of a place: the memory
// wants keys as they were before it.
func (st *Stream) unrotate(k kind, keys tokens, head, place, position int) {
	w, pairs := st.writer, len(k.Rope.InvFreq)
	if pairs == 0 {
		return
	}
	cos, sin := w.cos[:pairs], w.sin[:pairs]
	k.rotary(cos, sin, position)
	at := func(i int) int { return (head*keys.d+i)*keys.n + place }
	for i := range w.reverse {
		w.reverse[i] = keys.float(at(i))
	}
	kernels.Rotate(w.reverse, w.reverse, 1, keys.d, cos, sin, true)
	for i, v := range w.reverse {
		if i < 2*pairs { // what lies behind was not turned
			v /= k.Rope.Scale * k.Rope.Scale
		}
		keys.setFloat(at(i), v)
	}
}

// write runs the commit graph over the tokens that evict has laid out; the memory as it
// was counts for decay.
func (st *Stream) write(decay float32) error {
	w := st.writer
	w.decay[0] = decay
	if err := w.Run(); err != nil {
		return err
	}
	for _, e := range w.layers {
		if err := errors.Join(e.memory.CopyFrom(e.newMemory), e.memoryZ.CopyFrom(e.newMemoryZ)); err != nil {
			return err
		}
	}
	return nil
}

package model

import (
	"eisft/model/kernels"
	"eisft/internal/scratch"
)

// stretch is the forward pass of the tokens that a stream reads at once. Blocks of
// rows go through the layers side by side, each on one core: they meet only where
// a layer's keys must all be there.
type stretch struct {
	stream *Stream
	rows   int // T
	wanted int // the first row whose output the last layer computes
	blocks []*eager
	tables map[place]angles // layers share them
	normed []float32        // a layer's normed input [T,D], if a tape wants it

	// Of the layer whose queries wait for attention:
	attention Attention
	keys      visibleKeys
}

// rowBlock is how many rows go through a layer together: enough for products to be
// efficient, few enough for what they compute to stay in a core's cache.
const rowBlock = 64

func (st *Stream) newStretch(rows, wanted int) *stretch {
	s := &stretch{stream: st, rows: rows, wanted: wanted, tables: map[place]angles{}}
	for i, l := range st.model.Base.Layers {
		spec := st.model.Spec.At(i)
		st.State.Layers[i].resize(s.past(i)+rows, st.room(spec), spec, st.model.Base.Dims)
		at := st.place(i)
		if _, ok := s.tables[at]; !ok {
			cos, sin := l.Rotary.Range(at.position, at.position+rows)
			s.tables[at] = angles{cos, sin, len(l.Rotary.InvFreq)}
		}
	}
	height := rows
	if st.model.Base.keepsForward() { // else each block would convert all weights
		height = rowBlock
	}
	for first := 0; first < rows; first += height {
		e := &eager{stretch: s, first: first, rows: min(height, rows-first)}
		e.ops = st.backend(e)
		s.blocks = append(s.blocks, e)
	}
	return s
}

// past returns how many tokens layer i has stored before the stretch.
func (s *stretch) past(i int) int { return s.stream.parts(i).Stored() }

// forward takes x [T,D] through all layers.
func (s *stretch) forward(x []float32) {
	m, tape := s.stream.model, s.stream.options.Tape
	layers, d := m.Base.Layers, m.Base.Dims.Hidden
	if tape != nil {
		s.normed = scratch.Borrow(s.rows * d)
		defer scratch.Release(s.normed)
	}
	for i := range len(layers) + 1 {
		kernels.Each(len(s.blocks), func(b int) {
			e := s.blocks[b]
			part := x[e.first*d : (e.first+e.rows)*d]
			if i > 0 {
				if i < len(layers) || e.first+e.rows > s.wanted {
					copy(part, finish(e.ops, m.Spec, layers[i-1], part, e.queries))
				}
				e.release()
			}
			if i < len(layers) {
				e.layer, e.angles = i, s.tables[s.stream.place(i)]
				e.queries = begin(e.ops, layers[i], part)
			}
		})
		if i > 0 {
			s.keys.release()
		}
		if i < len(layers) {
			s.meet(i, x)
		}
	}
}

// meet prepares the attention of layer i, whose input is x, when all blocks have
// put their keys and values into the state.
func (s *stretch) meet(i int, x []float32) {
	st, l := s.stream, &s.stream.State.Layers[i]
	past := st.past(i, s.past(i), s.tables[st.place(i)])
	if tape := st.options.Tape; tape != nil {
		tape.Layer(i, x, past)
		tape.Remember(i, s.normed)
	}
	s.attention = past.Attention
	s.keys = s.attention.prepare(l.Rotated, l.V, s.past(i)+s.rows, s.rows)
}

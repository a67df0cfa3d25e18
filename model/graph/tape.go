package graph

import (
	"slices"

	"eisft/model"
)

// tape records a forward pass: what is needed to run it backward, segment by
// segment and layer by layer. It implements [model.Tape].
type tape struct {
	gradFrom    int // segments from this one on carry a graph
	current     int // index of the segment being read
	live        []liveSegment
	activations [][]*activations // of each live segment and layer; nothing of what is not differentiated
	layers      []layerTape      // of the pass
}

// liveSegment is a segment that carries a graph.
type liveSegment struct {
	index  int
	inputs [][]float32 // of each layer [T,D]
	past   []pastOf    // of each layer
	output []float32   // of the last layer [T,D]; zeros for rows that nobody asked for
}

// pastOf is what a layer saw beside the new tokens.
type pastOf struct {
	attention model.Attention
	memory    []float32 // [K,F,d+1] or nil
}

func newTape(layers []layerTape, gradFrom int) *tape {
	return &tape{gradFrom: gradFrom, current: -1, layers: layers}
}

// Layer implements [model.Tape].
func (t *tape) Layer(i int, x []float32, s model.Past) {
	if i == 0 {
		t.current++
		if t.current >= t.gradFrom {
			t.live = append(t.live, liveSegment{index: t.current})
		}
	}
	if t.current < t.gradFrom {
		return
	}
	seg := &t.live[len(t.live)-1]
	seg.inputs = append(seg.inputs, slices.Clone(x))
	seg.past = append(seg.past, clonePast(s))
}

// clonePast copies what the stream will overwrite.
func clonePast(s model.Past) pastOf {
	a := s.Attention
	a.PastK, a.PastV, a.Score, a.Token = slices.Clone(a.PastK), slices.Clone(a.PastV), slices.Clone(a.Score), slices.Clone(a.Token)
	a.Cos, a.Sin = slices.Clone(a.Cos), slices.Clone(a.Sin)
	return pastOf{attention: a, memory: slices.Clone(s.Memory)}
}

// LogSums implements [model.Tape].
func (t *tape) LogSums(i, first, rows int) []float32 {
	at := t.current - t.gradFrom
	if at < 0 || at >= len(t.activations) || t.activations[at] == nil || t.activations[at][i].values == nil {
		return nil
	}
	k := t.activations[at][i]
	heads := len(k.logSums) / k.rows
	return k.logSums[first*heads : (first+rows)*heads]
}

// Output implements [model.Tape].
func (t *tape) Output(x []float32) {
	if t.current < t.gradFrom {
		return
	}
	seg := &t.live[len(t.live)-1]
	seg.output = make([]float32, len(seg.inputs[0]))
	copy(seg.output[len(seg.output)-len(x):], x)
}

// Remember implements [model.Tape].
func (t *tape) Remember(i int, h []float32) {
	t.layers[i].normed = append(t.layers[i].normed, h...)
}

// Write implements [model.Tape].
func (t *tape) Write(i int, w model.Written, tokens []int32, memory []float32) {
	w.Keys, w.Values, w.Score = slices.Clone(w.Keys), slices.Clone(w.Values), slices.Clone(w.Score)
	t.layers[i].writes = append(t.layers[i].writes, write{after: t.current, what: w, tokens: slices.Clone(tokens), before: slices.Clone(memory)})
}

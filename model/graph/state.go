package graph

import (
	"fmt"

	"eisft/model"
)

// layerTape is what a layer keeps of the whole sample.
type layerTape struct {
	normed []float32 // [tokens,D], the inputs of the tokens' scores
	writes []write
}

// write is one write to the memory, at the end of segment `after`.
type write struct {
	after  int
	what   model.Written
	tokens []int32 // [m,K] index in the sequence
	before []float32
}

// stateGrads carries gradients back through what segments leave behind: the
// scores of tokens and the memory. Stored keys, values and inputs are constants
// (docs/method.md, section 5), so nothing else connects one segment with another.
type stateGrads struct {
	*Engine
	grads   *model.Params // of the parameters, added to
	layers  []layerTape
	dScore  [][]float32 // of each layer, by token in the sequence [tokens,K]
	dMemory [][]float32 // of each layer [K,F,d+1]; nil without memory
}

func (e *Engine) newStateGrads(grads *model.Params, tokens int) stateGrads {
	m, d := e.model, e.model.Base.Dims
	s := stateGrads{Engine: e, grads: grads, layers: make([]layerTape, len(m.Base.Layers))}
	s.dMemory = make([][]float32, len(s.layers))
	for i := range s.layers {
		s.layers[i].normed = make([]float32, 0, tokens*d.Hidden)
		s.dScore = append(s.dScore, make([]float32, tokens*d.KVHeads))
		if m.Spec.HasMemory() {
			s.dMemory[i] = make([]float32, model.Memory{Spec: m.Spec, Dims: d}.Size())
		}
	}
	return s
}

// addScores adds gradients of scores [n,K] to those of the tokens they belong to.
func (s *stateGrads) addScores(layer int, g []float32, tokens []int32) {
	kv := s.model.Base.Dims.KVHeads
	for j, v := range g {
		s.dScore[layer][int(tokens[j])*kv+j%kv] += v
	}
}

// backwardWrites runs layer i's memory writes at the end of the segments from one on
// backward, the last one first.
func (s *stateGrads) backwardWrites(i, segment int) error {
	l := &s.layers[i]
	for len(l.writes) > 0 && l.writes[len(l.writes)-1].after >= segment {
		w := l.writes[len(l.writes)-1]
		if err := s.backwardWrite(i, w); err != nil {
			return fmt.Errorf("memory write after segment %d: %w", w.after, err)
		}
		l.writes = l.writes[:len(l.writes)-1]
	}
	return nil
}

func (s *stateGrads) backwardWrite(i int, w write) error {
	k, r := key{kind: writeKind, form: s.forms[i], rows: w.what.Rows}, s.run(i)
	r.written, r.upstream = w.what, s.dMemory[i]
	r.inputs = []binding{{"memory", w.before, copyTo(s.dMemory[i])}}
	if w.what.Score != nil {
		k.scores = w.what.Rows
		r.inputs = append(r.inputs, s.scoreInput(i, w.what.Score, w.tokens))
	}
	return s.programs.do(k, r)
}

// run returns a run on layer i: its frozen weights, its parameters, and where their
// gradients are added.
func (s *stateGrads) run(i int) run {
	return run{layer: s.model.Base.Layers[i], params: &s.model.Params.Layers[i], grads: &s.grads.Layers[i]}
}

// scoreInput binds the scores [n,K] of tokens, the gradient of which goes to those
// of the tokens.
func (s *stateGrads) scoreInput(i int, score []float32, tokens []int32) binding {
	return binding{"score", score, func(g []float32) { s.addScores(i, g, tokens) }}
}

// backwardRest runs the writes of layer i that are left backward, and then the scores.
func (s *stateGrads) backwardRest(i int) error {
	if err := s.backwardWrites(i, 0); err != nil {
		return err
	}
	return s.backwardScores(i)
}

// backwardScores turns the gradients of layer i's scores into those of the
// weights they were computed with, a segment at a time. Tokens of a last,
// incomplete segment have not left the window.
func (s *stateGrads) backwardScores(i int) error {
	d, n := s.model.Base.Dims, s.model.Spec.Segment
	if s.model.Params.Layers[i].TokenScore() == nil {
		return nil
	}
	for t := 0; (t+n)*d.KVHeads <= len(s.dScore[i]); t += n {
		r := s.run(i)
		r.inputs = []binding{{name: "h", values: s.layers[i].normed[t*d.Hidden : (t+n)*d.Hidden]}}
		r.upstream = s.dScore[i][t*d.KVHeads : (t+n)*d.KVHeads]
		if err := s.programs.do(key{kind: scoreKind, rows: n}, r); err != nil {
			return fmt.Errorf("scores: %w", err)
		}
	}
	return nil
}

// blockRun returns the key and the run of a program of layer i's block over T rows
// that see what is stored of the past.
func (s *stateGrads) blockRun(k kind, i, rows int, past pastOf) (key, run) {
	id, r := key{kind: k, form: s.forms[i], rows: rows, memory: past.memory != nil}, s.run(i)
	r.attention = past.attention
	if score := past.attention.Score; len(score) > 0 {
		id.scores = len(score) / s.model.Base.Dims.KVHeads
		r.inputs = append(r.inputs, s.scoreInput(i, score, past.attention.Token))
	}
	if id.memory {
		r.inputs = append(r.inputs, binding{"memory", past.memory, addTo(s.dMemory[i])})
	}
	return id, r
}

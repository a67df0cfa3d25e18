package graph

import (
	"fmt"

	"eisft/model"
	"eisft/model/kernels"
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
// (method, section 5), so nothing else connects one segment with another.
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

// addKeep adds weight times the derivative of σ(ρ) of one token and KV head.
func (s *stateGrads) addKeep(layer, at int, score, weight float32) {
	w := kernels.Sigmoid1(score)
	s.dScore[layer][at] += weight * w * (1 - w)
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
	key := writeKey{w.what.Rows, w.what.Score != nil}
	inputs, featureK := [][]float32{w.before}, s.model.Params.Layers[i].FeatureK
	if w.what.Score != nil {
		inputs = append(inputs, w.what.Score)
	}
	if featureK != nil {
		inputs = append(inputs, featureK.Data)
	}
	return s.programs.do(key, run{written: w.what}, append(inputs, s.dMemory[i]), func(out [][]float32) {
		copy(s.dMemory[i], out[1])
		if out = out[2:]; w.what.Score != nil {
			s.addScores(i, out[0], w.tokens)
			out = out[1:]
		}
		if featureK != nil {
			kernels.Add(s.grads.Layers[i].FeatureK.Data, out[0])
		}
	})
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
	w, c := s.model.Params.Layers[i].TokenScore()
	if w == nil {
		return nil
	}
	dw, dc := s.grads.Layers[i].TokenScore()
	for t := 0; (t+n)*d.KVHeads <= len(s.dScore[i]); t += n {
		h, up := s.layers[i].normed[t*d.Hidden:(t+n)*d.Hidden], s.dScore[i][t*d.KVHeads:(t+n)*d.KVHeads]
		err := s.programs.do(tokenScoreKey(n), run{}, [][]float32{h, w.Data, c.Data, up}, func(out [][]float32) {
			kernels.Add(dw.Data, out[1])
			kernels.Add(dc.Data, out[2])
		})
		if err != nil {
			return fmt.Errorf("scores: %w", err)
		}
	}
	return nil
}

// stateInputs returns the inputs of a block program that come from the state
// and the parameters, and where the gradient of each is added; nil stands for
// the scores.
func (s *stateGrads) stateInputs(i int, score, memory []float32) (inputs, into [][]float32) {
	if len(score) > 0 {
		inputs, into = append(inputs, score), append(into, nil)
	}
	if memory == nil {
		return inputs, into
	}
	inputs, into = append(inputs, memory), append(into, s.dMemory[i])
	grads := blockParams(&s.grads.Layers[i])
	for j, q := range blockParams(&s.model.Params.Layers[i]) {
		if q != nil {
			inputs, into = append(inputs, q.Data), append(into, grads[j].Data)
		}
	}
	return inputs, into
}

// addAll adds the gradients of stateInputs; tokens are those of the scores.
func (s *stateGrads) addAll(i int, into, grads [][]float32, tokens []int32) {
	for j, g := range grads {
		if into[j] == nil {
			s.addScores(i, g, tokens)
		} else {
			kernels.Add(into[j], g)
		}
	}
}

package quant

import (
	"slices"

	"eisft/model"
	"eisft/model/kernels"
)

// Unfold is the reverse of what Float does to an adapter: p are parameters that were trained
// beside the model that Float or Apply give of m, and what it returns are those that belong
// beside the untouched base, as adapters are saved. Float folds them in again.
func (q *Quantized) Unfold(m *model.Model, p *model.Params) (*model.Params, error) {
	p = copied(p)
	if q.Folded == nil {
		return p, nil
	}
	var before []*model.Base
	for i := range q.Folded.Steps {
		before = append(before, m.Base)
		var err error
		if m, err = q.Folded.Steps[i].apply(m); err != nil {
			return nil, err
		}
	}
	for i, b := range slices.Backward(before) {
		q.Folded.Steps[i].unfold(b, p)
	}
	return p, nil
}

// unfold takes a step back, in the parameters beside the base that it was carried out on.
func (s *Step) unfold(b *model.Base, p *model.Params) {
	dims := b.Dims
	for i, r := range s.Values {
		back := make([]float32, len(r))
		for kv := range dims.KVHeads {
			n := dims.HeadDim * dims.HeadDim
			kernels.Transpose(back[kv*n:(kv+1)*n], r[kv*n:(kv+1)*n], dims.HeadDim, dims.HeadDim)
		}
		turnReadMap(&p.Layers[i], back, dims.Heads/dims.KVHeads)
	}
	if s.Residual != nil {
		back := make([]float32, len(s.Residual))
		kernels.Transpose(back, s.Residual, dims.Hidden, dims.Hidden)
		for i, l := range b.Layers {
			if s := p.Layers[i].TokenScore(); s != nil {
				turnScore(s, nil, back)
				unweighScore(s, l.InputNorm)
			}
		}
	}
	for _, place := range seams(b) {
		scales := s.Scales[place.point]
		if scales == nil || place.layer < 0 {
			continue
		}
		inverse, l := quotient(slices.Repeat([]float32{1}, len(scales)), scales), &p.Layers[place.layer]
		switch place.point {
		case in(b.Layers[place.layer].Q.Name):
			scaleScores(l, inverse)
		case in(b.Layers[place.layer].O.Name):
			scaleReadMap(l, place.spread(inverse))
		}
	}
}

// unweighScore takes a norm's weights and bias out of a score. Where the norm's weight is 0
// the score sees a constant, and its weight is set to 0.
func unweighScore(s *model.TokenScore, n *model.Norm) {
	if n == nil {
		return
	}
	weight, bias := s.Reader()
	d := weight.Shape[1]
	for g := range bias.Data {
		w := weight.Data[g*d : (g+1)*d]
		for i, v := range n.Weight {
			if v == 0 {
				w[i] = 0
			} else {
				w[i] /= v
			}
		}
		if n.Bias != nil {
			bias.Data[g] -= kernels.Dot(w, n.Bias)
		}
	}
}

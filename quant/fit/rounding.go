package fit

import (
	"eisft/model"
	"eisft/model/graph"
	"eisft/quant"
)

// Rounding rounds the activations of a model as q encodes them, in streams and in programs.
// What lies between the queries and the output of attention is rounded in streams alone.
func Rounding(m *model.Model, q *quant.Quantized) *graph.Rounding {
	points := map[string]*quant.Point{}
	for _, p := range q.Points {
		points[p.Name] = p
	}
	return &graph.Rounding{Wrap: quant.Wrap(m, q, nil), Round: func(l *model.Layer, at graph.Site, x []float32) {
		if p := points[pointAt(l, at)]; p != nil {
			p.Encoding.Fake(x)
		}
	}}
}

// pointAt names the point at a site of a layer, whether a scheme has it or not.
func pointAt(l *model.Layer, at graph.Site) string {
	switch {
	case l == nil && at.Output:
		return quant.HeadOutput
	case l == nil:
		return quant.HeadInput
	case at.Norm != "": // those that a map reads have no point of this name
		return quant.NormPoint(l.Norm(at.Norm))
	case at.Output:
		return quant.OutputPoint(l.Map(at.Map))
	default:
		return quant.InputPoint(l, l.Map(at.Map))
	}
}

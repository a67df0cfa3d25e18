package graph

import (
	"context"
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/model"
	"eisft/model/kernels"
)

// Stretch is what a layer reads of a stretch of a text, with what it saw of the past, and
// what it put out.
type Stretch struct {
	First         int       // index in the text of its first token
	Input, Output []float32 // hidden states [T,D] before and after the layer
	past          pastOf
}

// Stretches streams a text through the model and returns what layer i saw, stretch by
// stretch. embed is as in [model.StreamOptions]. The whole of it is held at once: three
// times [len(ids),D], and for each stretch what the layer has stored.
func (e *Engine) Stretches(ctx context.Context, ids []int32, i int, embed func(x []float32, ids []int32) error) ([]Stretch, error) {
	t := newTape(make([]layerTape, len(e.model.Base.Layers)), 0)
	st := e.model.NewStream(model.StreamOptions{Tape: t, Wrap: e.rounding.wrap(), Embed: embed})
	if err := st.Feed(ctx, ids, 0, nil); err != nil {
		return nil, err
	}
	var list []Stretch
	first := 0
	for _, s := range t.live {
		out := Stretch{First: first, Input: s.inputs[i], Output: s.output, past: s.past[i]}
		if i+1 < len(s.inputs) {
			out.Output = s.inputs[i+1]
		}
		// The choice of slots is made: their scores are in no value of a fit.
		out.past.attention.Score, out.past.attention.Token = nil, nil
		list = append(list, out)
		first += len(out.Input) / e.model.Base.Dims.Hidden
	}
	return list, nil
}

// Fit returns weight·‖y-wanted‖², the distance of layer i's output [T,D] for a stretch from
// the wanted one, where maps are in the place of the layer's own (W [Out,In] by role), and
// adds its gradients with respect to them to grads. The stored keys, values and memory of
// the stretch, the layer's norms and biases and the block's parameters are constants, as is
// its input.
func (e *Engine) Fit(i int, s *Stretch, wanted []float32, weight float32, maps, grads map[model.Role][]float32) (float64, error) {
	if e.unused == nil {
		e.unused = e.model.Params.Zero()
	}
	layer, rows := e.model.Base.Layers[i], len(s.Input)/e.model.Base.Dims.Hidden
	k := key{kind: fitKind, form: e.forms[i], rows: rows, memory: s.past.memory != nil}
	r := run{
		layer: layer, params: &e.model.Params.Layers[i], grads: &e.unused.Layers[i],
		attention: s.past.attention, wanted: wanted, weights: make([]float32, rows),
		inputs: []binding{{name: "x", values: s.Input}}, upstream: []float32{1},
	}
	for j := range r.weights {
		r.weights[j] = weight
	}
	if k.memory {
		r.inputs = append(r.inputs, binding{"memory", s.past.memory, func([]float32) {}})
	}
	for role := range layer.Maps() {
		if len(grads[role]) != len(maps[role]) {
			return 0, fmt.Errorf("layer %d: %s has %d weights and room for %d gradients", i, role, len(maps[role]), len(grads[role]))
		}
		r.inputs = append(r.inputs, binding{string(role), maps[role], addTo(grads[role])})
	}
	loss := 0.0
	r.result = func(y []float32) { loss = float64(y[0]) }
	return loss, e.programs.do(k, r)
}

// buildFit is the program of a layer's reconstruction (BRECQ, arXiv 2102.05426, eq. 7): its
// maps [Out,In] by role, x [T,D], a constant, and the state's inputs to the weighted squared
// distance of the layer's output from the wanted one, [1].
func buildFit(b *builder) *G.Node {
	x := b.constant("x", b.key.rows, b.dims().Hidden)
	nodes := &fitNodes{newBlockNodes(b)}
	return b.distance(model.Forward(b.rounded(nodes), b.spec(), b.layer, x))
}

// fitNodes are the block's nodes with maps that have gradients.
type fitNodes struct{ *blockNodes }

func (f *fitNodes) Linear(l *model.Linear, x *G.Node) *G.Node {
	role := f.layer.RoleOf(l)
	if role == "" {
		f.fail(fmt.Errorf("layer %d: the block uses a map that Layer.Maps does not list", f.layer.Index))
	}
	if f.err != nil {
		return nil
	}
	rows, out, in := f.key.rows, l.Out, l.In
	w := f.input(string(role), out, in)
	return f.apply("fitted", tensor.Shape{rows, out}, func(y []float32, v [][]float32) {
		kernels.Gemm(false, true, rows, out, in, 1, v[0], in, v[1], in, 0, y, out)
		f.frame.run.layer.Map(role).AddBias(y)
	}, func(grads [][]float32, dOut, _ []float32, v [][]float32) {
		kernels.Gemm(true, false, out, in, rows, 1, dOut, out, v[0], in, 1, grads[1], in)
		if grads[0] != nil { // else x is a constant
			kernels.Gemm(false, false, rows, in, out, 1, dOut, out, v[1], in, 1, grads[0], in)
		}
	}, x, w)
}

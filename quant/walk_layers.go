package quant

import (
	"context"
	"errors"
	"io"

	"eisft/model"
)

// refineLayers calls o.Refine for each layer: a stand-in, in memory, for the walk layer by layer.
func refineLayers(ctx context.Context, m *model.Model, q *Quantized, o RoundOptions) error {
	float, faked := &States{width: m.Base.Dims.Hidden}, &States{width: m.Base.Dims.Hidden}
	var ids [][]int32
	starts, n := []int{0}, 0
	for s, err := range o.Samples() {
		if err != nil {
			return err
		}
		ids = append(ids, s.IDs)
		n += len(s.IDs)
		starts = append(starts, n)
	}
	float.starts, faked.starts = starts, starts
	float.file, faked.file = &memoryFile{b: make([]byte, 4*n*m.Base.Dims.Hidden)}, &memoryFile{b: make([]byte, 4*n*m.Base.Dims.Hidden)}
	first := true
	at := 0
	for i, l := range m.Base.Layers {
		weights := map[model.Role]*Weight{}
		for role := range l.Maps() {
			weights[role] = q.Weights[at]
			at++
		}
		run := func(states *States, maps map[model.Role]*Weight, w model.Wrap) error {
			for s := range ids {
				x := make([]float32, states.Len(s)*states.width)
				embed := m.Base.Embed
				scale, norm := m.Base.EmbeddingScale, m.Base.EmbeddingNorm
				in := ids[s]
				if !first {
					if err := states.Read(x, s, 0); err != nil {
						return err
					}
					embed, scale, norm = model.NewLinear("states", states.width, len(x)/states.width, x, nil), 1, nil
					in = make([]int32, len(in))
					for k := range in {
						in[k] = int32(k)
					}
				} else if maps == nil { // nothing
				}
				base := *m.Base
				layer := l.WithMaps(func(r model.Role, o *model.Linear) *model.Linear {
					if maps == nil {
						return o
					}
					return model.NewLinear(o.Name, o.In, o.Out, maps[r].Dequantize(), o.Bias)
				})
				layer.Index = 0
				base.Layers, base.Embed, base.EmbeddingNorm, base.EmbeddingScale = []*model.Layer{layer}, embed, norm, scale
				spec := m.Spec.At(i)
				one := &model.Model{Base: &base, Spec: spec, Params: &model.Params{Spec: spec, Dims: m.Params.Dims, Layers: m.Params.Layers[i : i+1]}}
				t := &outputs{states: states, sequence: s}
				if err := one.NewStream(model.StreamOptions{Tape: t, Wrap: w}).Feed(ctx, in, 0, nil); err != nil {
					return err
				}
				if t.err != nil {
					return t.err
				}
			}
			return nil
		}
		if first { // the embeddings are the inputs
			for s := range ids {
				in := &inputs{states: faked, sequence: s}
				base := *m.Base
				if err := (&model.Model{Base: &base, Spec: m.Spec, Params: m.Params}).NewStream(model.StreamOptions{Tape: in}).Feed(ctx, ids[s], 0, nil); err != nil {
					return err
				}
			}
		}
		if err := run(float, nil, nil); err != nil {
			return err
		}
		first = false
		if o.Refine != nil {
			if err := o.Refine(ctx, &Layer{Index: i, Model: m, Weights: weights, Inputs: faked, Outputs: float}); err != nil {
				return err
			}
		}
		if err := run(faked, weights, Wrap(m, q, nil)); err != nil {
			return err
		}
	}
	return nil
}

type outputs struct {
	states   *States
	sequence int
	at       int
	err      error
}

func (t *outputs) Layer(int, []float32, model.Past) {}
func (t *outputs) Output(x []float32) {
	t.err = errors.Join(t.err, t.states.write(x, t.sequence, t.at))
	t.at += len(x) / t.states.width
}
func (t *outputs) Remember(int, []float32)                      {}
func (t *outputs) Write(int, model.Written, []int32, []float32) {}

type inputs struct {
	states   *States
	sequence int
	at       int
}

func (t *inputs) Layer(i int, x []float32, _ model.Past) {
	if i == 0 {
		_ = t.states.write(x, t.sequence, t.at)
		t.at += len(x) / t.states.width
	}
}
func (t *inputs) Output([]float32)                             {}
func (t *inputs) Remember(int, []float32)                      {}
func (t *inputs) Write(int, model.Written, []int32, []float32) {}

type memoryFile struct{ b []byte }

func (m *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
func (m *memoryFile) WriteAt(p []byte, off int64) (int, error) { return copy(m.b[off:], p), nil }

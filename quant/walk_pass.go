package quant

import (
	"context"

	"eisft/internal/scratch"
	"eisft/model"
)

// pass takes hidden states through one layer of a model, segment by segment and with the
// state that the layer has in a stream: its sinks, slots, window and memory.
type pass struct {
	r       *rounder
	index   int
	layer   *model.Layer
	weights map[model.Role]*Weight // in the place of the layer's own
	maps    map[model.Role]*model.Linear
	exact   bool // neither weights nor points are rounded
}

func newPass(r *rounder, index int) *pass {
	return &pass{r: r, index: index, layer: r.model.Base.Layers[index], weights: map[model.Role]*Weight{}}
}

// round takes a map's weights, for the passes that follow.
func (p *pass) round(m layerMap, w *Weight) {
	if p.maps == nil {
		p.maps = map[model.Role]*model.Linear{}
	}
	l := m.linear
	p.weights[m.role], p.maps[m.role] = w, model.NewLinear(l.Name, l.In, l.Out, w.Dequantize(), l.Bias)
}

// float is the pass through the float layer.
func (p *pass) float() *pass { return &pass{r: p.r, index: p.index, layer: p.layer, exact: true} }

// list lists the layer's weights, all of which are there.
func (p *pass) list() []*Weight {
	var list []*Weight
	for role := range p.layer.Maps() {
		list = append(list, p.weights[role])
	}
	return list
}

// alone is the model of this layer alone. Its tokens are the rows of what the layer reads,
// of which a sequence has at most the given number. Maps that have no weights yet have none.
func (p *pass) alone(rows int) *model.Model {
	m := p.r.model
	l := p.layer.WithMaps(func(role model.Role, l *model.Linear) *model.Linear {
		switch m := p.maps[role]; {
		case p.exact:
			return l
		case m != nil:
			return m
		default:
			return model.NewLinear(l.Name, l.In, l.Out, nil, l.Bias)
		}
	})
	l.Index = 0
	b := *m.Base
	b.Layers = []*model.Layer{l}
	b.Embed = model.NewLinear(b.Embed.Name, b.Embed.In, rows, nil, nil)
	return &model.Model{Base: &b, Spec: m.Spec.Alone(p.index), Params: m.Params.Alone(p.index)}
}

// observe adds the inputs of the layer's maps of a role to a Hessian. All maps before it
// have their weights.
func (p *pass) observe(ctx context.Context, in *States, role model.Role, h *Hessian) error {
	m := p.alone(in.longest())
	target, round := m.Base.Layers[0].Map(role), Wrap(m, p.r.q, nil)
	inputs := scratch.Borrow(min(m.Spec.Segment, in.longest()) * h.In)
	defer scratch.Release(inputs)
	seen := 0 // tokens before the stretch
	wrap := func(o model.Ops[[]float32], first int) model.Ops[[]float32] {
		return round(&until{Ops: o, target: target, take: func(x []float32) { copy(inputs[(first-seen)*h.In:], x) }}, first)
	}
	unwanted := 0
	if role == model.RoleQuery { // which the layer computes even where its output is not asked for
		unwanted = in.longest()
	}
	for sequence := range in.Sequences() {
		seen = 0
		st := m.NewStream(model.StreamOptions{Wrap: wrap, Embed: in.embedding(sequence)})
		err := st.Feed(ctx, counting(in.Len(sequence)), unwanted, func(int, []float32) error {
			h.add(inputs[:(st.Seen()-seen)*h.In])
			seen = st.Seen()
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// output writes what the layer puts out.
func (p *pass) output(ctx context.Context, in, out *States) error {
	m := p.alone(in.longest())
	var wrap model.Wrap
	if !p.exact {
		wrap = Wrap(m, p.r.q, nil)
	}
	for sequence := range in.Sequences() {
		t := &outputTape{}
		st := m.NewStream(model.StreamOptions{Wrap: wrap, Tape: t, Embed: in.embedding(sequence)})
		t.write = func(x []float32) error { return out.write(x, sequence, st.Seen()-len(x)/out.width) }
		err := st.Feed(ctx, counting(in.Len(sequence)), 0, func(int, []float32) error { return t.err })
		if err != nil {
			return err
		}
	}
	return nil
}

// embedding reads what a stream's layer reads: ids are rows of a sequence.
func (s *States) embedding(sequence int) func(x []float32, ids []int32) error {
	return func(x []float32, ids []int32) error { return s.Read(x, sequence, int(ids[0])) }
}

// counting returns 0 to n-1.
func counting(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(i)
	}
	return ids
}

// outputTape takes a layer's output from a stream, before the final norm.
type outputTape struct {
	write func(x []float32) error
	err   error
}

func (t *outputTape) Layer(int, []float32, model.Past) {}

func (t *outputTape) Remember(int, []float32) {}

func (t *outputTape) Write(int, model.Written, []int32, []float32) {}

func (t *outputTape) Output(x []float32) { t.err = t.write(x) }

// observeHead adds what the head reads to a Hessian.
func (r *rounder) observeHead(ctx context.Context, h *Hessian) error {
	base, segment := r.model.Base, r.model.Spec.Segment
	x := scratch.Borrow(min(segment, r.states.longest()) * h.In)
	defer scratch.Release(x)
	for sequence := range r.states.Sequences() {
		for first := 0; first < r.states.Len(sequence); first += segment {
			if err := ctx.Err(); err != nil {
				return err
			}
			rows := x[:min(segment, r.states.Len(sequence)-first)*h.In]
			if err := r.states.Read(rows, sequence, first); err != nil {
				return err
			}
			base.Norm.Apply(rows, rows)
			Wrap(r.model, r.q, nil)(&until{target: base.Head, take: h.add}, 0).Linear(base.Head, rows)
		}
	}
	return nil
}

// until is a backend that shows what one map reads and computes nothing from there on.
type until struct {
	model.Ops[[]float32]
	target *model.Linear
	take   func(x []float32)
	done   bool
}

// Linear implements [model.Ops], as do the methods behind it.
func (u *until) Linear(l *model.Linear, x []float32) []float32 {
	if l == u.target && !u.done {
		u.take(x)
		u.done = true
	}
	if u.done {
		return x
	}
	return u.Ops.Linear(l, x)
}

// See implements [model.Seer].
func (u *until) See(l *model.Layer) model.Sight { return u.Ops.(model.Seer).See(l) }

func (u *until) Norm(n *model.Norm, x []float32) []float32 {
	if u.done {
		return x
	}
	return u.Ops.Norm(n, x)
}

func (u *until) Copy(x []float32) []float32 {
	if u.done {
		return x
	}
	return u.Ops.Copy(x)
}

func (u *until) GatedProduct(l *model.Layer, gate, up []float32) []float32 {
	if u.done {
		return gate
	}
	return u.Ops.GatedProduct(l, gate, up)
}

func (u *until) Residual(l *model.Layer, x, y []float32) []float32 {
	if u.done {
		return x
	}
	return u.Ops.Residual(l, x, y)
}

func (u *until) Remember(l *model.Layer, h, k, v []float32) {
	if !u.done {
		u.Ops.Remember(l, h, k, v)
	}
}

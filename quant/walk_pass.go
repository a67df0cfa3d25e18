package quant

import (
	"cmp"
	"context"
	"slices"

	"eisft/internal/ranks"
	"eisft/internal/scratch"
	"eisft/model"
)

// pass takes hidden states through one layer of a model, segment by segment and with the
// state that the layer has in a stream: its sinks, slots, window and memory.
type pass struct {
	r       *rounder
	layer   *model.Layer
	weights map[model.Role]*Weight // in the place of the layer's own
	maps    map[model.Role]*model.Linear
	exact   bool // neither weights nor points are rounded
	// attended is what o_proj reads of the samples, [n,H·d]; nil: nothing is kept.
	attended *States
}

func newPass(r *rounder, index int) *pass {
	return &pass{r: r, layer: r.model.Base.Layers[index], weights: map[model.Role]*Weight{}}
}

// round takes a map's weights, for the passes that follow.
func (p *pass) round(m layerMap, w *Weight) {
	if p.maps == nil {
		p.maps = map[model.Role]*model.Linear{}
	}
	p.weights[m.role], p.maps[m.role] = w, w.linear(p.r.model.Base.WithoutCopies(), m.linear)
}

// float is the pass through the float layer.
func (p *pass) float() *pass { return &pass{r: p.r, layer: p.layer, exact: true} }

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
	return p.r.model.Alone(p.layer.WithMaps(func(role model.Role, l *model.Linear) *model.Linear {
		switch m := p.maps[role]; {
		case p.exact:
			return l
		case m != nil:
			return m
		default:
			return model.NewLinear(l.Name, l.In, l.Out, nil, l.Bias)
		}
	}), rows)
}

// observe adds the inputs of the layer's maps of a role to a Hessian. All maps before it
// have their weights.
func (p *pass) observe(ctx context.Context, in *States, role model.Role, h *Hessian) error {
	switch role {
	case model.RoleQuery: // which the layer computes even where its output is not asked for
		all := func(int) bool { return true }
		return p.stream(ctx, in, role, in.longest(), all, func(x []float32, _, _ int) error { h.add(x); return nil })
	case model.RoleOutput:
		return p.attend(ctx, in, h)
	default:
		return p.after(ctx, in, role, func(x []float32, _, _ int) error { h.add(x); return nil })
	}
}

// output writes what the layer puts out.
func (p *pass) output(ctx context.Context, in, out *States) error {
	if p.attended == nil {
		if err := p.attend(ctx, in, nil); err != nil {
			return err
		}
	}
	return p.after(ctx, in, "", func(x []float32, sequence, first int) error { return out.write(x, sequence, first) })
}

// attend keeps what the layer's attention puts out, since it takes the longest of all steps,
// and adds it to a Hessian (nil: none). The maps before it have their weights. Ranks take turns with the
// samples.
func (p *pass) attend(ctx context.Context, in *States, h *Hessian) (err error) {
	g := p.r.options.Group
	if p.attended, err = p.r.store.temporary(p.layer.O.In, in); err != nil {
		return err
	}
	own := func(sequence int) bool { return mine(g, sequence) }
	starts := make([][]int, in.Sequences()) // of the stretches
	err = p.stream(ctx, in, model.RoleOutput, 0, own, func(x []float32, sequence, first int) error {
		if h != nil && g.Size() == 1 {
			h.add(x)
		}
		starts[sequence] = append(starts[sequence], first)
		return p.attended.write(x, sequence, first)
	})
	if err != nil || g.Size() == 1 {
		return err
	}
	all, err := ranks.Meet(g, starts)
	if err != nil {
		return err
	}
	x := scratch.Borrow(min(p.r.model.Spec.Segment, in.longest()) * p.layer.O.In)
	defer scratch.Release(x)
	for sequence := range in.Sequences() {
		owner := sequence % g.Size()
		starts := all[owner][sequence]
		for i, first := range starts {
			end := in.Len(sequence)
			if i+1 < len(starts) {
				end = starts[i+1]
			}
			x := x[:(end-first)*p.layer.O.In]
			if err := p.tell(g, owner, x, sequence, first); err != nil {
				return err
			}
			if h != nil {
				h.add(x)
			}
		}
	}
	return nil
}

// tell fills x with what a rank's attention has put out for a stretch, and keeps it.
func (p *pass) tell(g ranks.Group, owner int, x []float32, sequence, first int) error {
	if owner == g.Rank() {
		if err := p.attended.Read(x, sequence, first); err != nil {
			return err
		}
	}
	parts := make([][]float32, g.Size())
	parts[owner] = x
	if err := everyone(g, parts); err != nil || owner == g.Rank() {
		return err
	}
	return p.attended.write(x, sequence, first)
}

// forget ends the use of what attend has kept.
func (p *pass) forget() error {
	err := p.attended.remove()
	p.attended = nil
	return err
}

// stream takes the samples through the layer up to what a map reads, and calls take with that
// for one stretch after the other: x [n,In], of which the first-th token of a sequence is the
// first, of the sequences that own says. The output of tokens before the wanted-th of a sequence is not
// asked for.
func (p *pass) stream(ctx context.Context, in *States, role model.Role, wanted int, own func(sequence int) bool, take func(x []float32, sequence, first int) error) error {
	m := p.alone(in.longest())
	target, round := m.Base.Layers[0].Map(role), p.rounding(m, true)
	inputs := scratch.Borrow(min(m.Spec.Segment, in.longest()) * target.In)
	defer scratch.Release(inputs)
	seen := 0 // tokens before the stretch
	wrap := func(o model.Ops[[]float32], first int) model.Ops[[]float32] {
		return round(&until{Ops: o, target: target, take: func(x []float32) { copy(inputs[(first-seen)*target.In:], x) }}, first)
	}
	for sequence := range in.Sequences() {
		if !own(sequence) {
			continue
		}
		seen = 0
		st := m.NewStream(model.StreamOptions{Wrap: wrap, Embed: in.embedding(sequence)})
		err := st.Feed(ctx, counting(in.Len(sequence)), wanted, func(int, []float32) error {
			first := seen
			seen = st.Seen()
			return take(inputs[:(seen-first)*target.In], sequence, first)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stretchRows bounds how many tokens after reads at once. Products add up so many numbers at a
// time, so that a Hessian has the bits that it would have of whole segments.
const stretchRows = 256

// after takes what attend has kept on: up to what the map of a role reads, inputs [n,In], or
// to the layer's output [n,D] if role is "". take is called with them for one stretch after
// the other; ranks take turns to compute them.
func (p *pass) after(ctx context.Context, in *States, role model.Role, take func(x []float32, sequence, first int) error) error {
	m, g := p.alone(in.longest()), p.r.options.Group
	l, rows, round := m.Base.Layers[0], min(m.Spec.Segment, in.longest(), stretchRows), p.rounding(m, false)
	target, width := l.Map(role), in.width
	if target != nil {
		width = target.In
	}
	x, attended, found := scratch.Borrow(rows*in.width), scratch.Borrow(rows*l.O.In), scratch.Borrow(g.Size()*rows*width)
	defer scratch.Release(x, attended, found)
	compute := func(out []float32, s stretch) error {
		x, attended := x[:s.n*in.width], attended[:s.n*l.O.In]
		if err := cmp.Or(ctx.Err(), in.Read(x, s.sequence, s.first), p.attended.Read(attended, s.sequence, s.first)); err != nil {
			return err
		}
		wrap := func(o model.Ops[[]float32], row int) model.Ops[[]float32] {
			if target != nil {
				o = &until{Ops: o, target: target, take: func(x []float32) { copy(out[(row-s.first)*width:], x) }}
			}
			return round(o, row)
		}
		m.Rows(s.n, s.first, wrap, func(o model.Ops[[]float32], lo, hi int) {
			rows := x[lo*in.width : hi*in.width]
			y := model.AfterAttention(o, l, rows, attended[lo*l.O.In:hi*l.O.In])
			if target == nil {
				copy(out[lo*width:], y)
			}
		})
		return nil
	}
	for stretches := range slices.Chunk(p.stretches(in, rows), g.Size()) {
		parts := make([][]float32, g.Size())
		for i, s := range stretches {
			parts[i] = found[i*rows*width:][:s.n*width]
		}
		if i := g.Rank(); i < len(stretches) {
			if err := compute(parts[i], stretches[i]); err != nil {
				return err
			}
		}
		if err := everyone(g, parts); err != nil {
			return err
		}
		for i, s := range stretches {
			if err := take(parts[i], s.sequence, s.first); err != nil {
				return err
			}
		}
	}
	return nil
}

// stretch are some tokens of a sequence.
type stretch struct{ sequence, first, n int }

// stretches cuts sequences into stretches of at most so many tokens, each within a segment.
func (p *pass) stretches(in *States, most int) (list []stretch) {
	segment := p.r.model.Spec.Segment
	for sequence := range in.Sequences() {
		for first, n := 0, 0; first < in.Len(sequence); first += n {
			n = min(most, in.Len(sequence)-first, segment-first%segment)
			list = append(list, stretch{sequence, first, n})
		}
	}
	return list
}

// rounding decorates the layer's backend, from its first step on or from behind its attention.
func (p *pass) rounding(m *model.Model, first bool) model.Wrap {
	if p.exact {
		return func(o model.Ops[[]float32], _ int) model.Ops[[]float32] { return o }
	}
	t := p.r.q.taps(m, nil)
	t.whole = t.whole && first
	return t.wrap
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

package graph

import (
	"context"
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/schedule"
)

// TransferOptions say how a text is distilled.
type TransferOptions struct {
	// Penalty is that of each layer, the mean of what is kept being over all tokens.
	Penalty
	// Weight is the weight of the whole text: one over the texts of the batch.
	Weight float64
	// LossOnly takes the loss alone: what grads hold afterwards means nothing.
	LossOnly bool
}

// TransferResult is what distilling a text found.
type TransferResult struct {
	Errors []float64 // relative error ‖O(block)-O(full)‖²/‖O(full)‖² of each layer that is trained
	Kept   float64   // mean of σ(ρ), with decay of σ(ρ)^age at the text's end, over layers, KV heads and tokens
	Layers []model.LayerStats
}

// Transfer adds the gradients of attention transfer to grads (LoLCATs, arXiv
// 2410.10254; docs/method.md, section 5): the base reads the text with full attention,
// and each layer's block, given the same inputs, is fitted to what the base's
// attention put out. Retention is soft: tokens that left the window stay
// visible, raised by log σ(ρ), and are written to the memory by 1-σ(ρ). Nothing
// is differentiated through the base. Where the tokens stand is
// [schedule.Plan.TransferPosition]'s to say.
//
// The text is cut to whole segments from its end; importance [len(ids)] weighs
// its tokens (nil: all alike).
func (e *Engine) Transfer(ctx context.Context, ids []int32, importance []float32, o TransferOptions, grads *model.Params) (TransferResult, error) {
	segment := e.model.Spec.Segment
	if least := e.model.Spec.Sizes().TransferTokens(); len(ids) < least {
		return TransferResult{}, fmt.Errorf("the text has %d tokens; attention transfer needs at least %d (%d segments of %d)", len(ids), least, least/segment, segment)
	}
	from := len(ids) % segment
	plan := e.model.Spec.Plan(len(e.model.Base.Layers))
	plan.Soft = true
	t := &transfer{plan: plan, stateGrads: e.newStateGrads(grads, len(ids)-from), options: o, tokens: len(ids) - from, importance: importance}
	if importance != nil {
		t.importance = importance[from:]
	}
	if err := t.teach(ctx, ids[from:]); err != nil {
		return TransferResult{}, err
	}
	t.stats = make([]model.LayerStats, len(t.layers))
	r := TransferResult{Layers: t.stats}
	losses := make([]float64, len(t.layers))
	err := eachLayer(len(t.layers), func(i int) (err error) {
		if trained(e.model, i) {
			losses[i], err = t.layer(ctx, i)
		}
		return err
	})
	if err != nil {
		return TransferResult{}, err
	}
	scored := 0
	for i, loss := range losses {
		if trained(e.model, i) {
			r.Errors = append(r.Errors, loss)
		}
		if e.model.Params.Layers[i].TokenScore() != nil {
			r.Kept, scored = r.Kept+t.stats[i].Kept, scored+1
		}
	}
	r.Kept /= float64(max(scored, 1))
	return r, nil
}

// transfer is the distillation of one text.
type transfer struct {
	stateGrads
	plan       schedule.Plan
	options    TransferOptions
	tokens     int
	importance []float32
	lessons    []lesson // of each layer
	stats      []model.LayerStats
}

// lesson is what a layer of the base saw and answered, for the whole text.
type lesson struct {
	q      []float32 // [tokens,H·d] before rotary embedding
	k, v   []float32 // [tokens,K·d] before rotary embedding
	output []float32 // [tokens,D] of the attention, after its projection
}

// teacher listens to the base's forward pass of the tokens from the first-th on.
type teacher struct {
	model.Ops[[]float32]
	t     *transfer
	first int
	layer *model.Layer
	over  bool // all that is asked for has been computed
}

func (l *teacher) Remember(layer *model.Layer, h, k, v []float32) {
	l.layer = layer
	l.Ops.Remember(layer, h, k, v)
}

func (l *teacher) Attend(layer *model.Layer, q, k, v []float32, column *model.Column[[]float32]) []float32 {
	d := l.t.model.Base.Dims
	copy(l.t.lessons[layer.Index].q[l.first*d.Heads*d.HeadDim:], q)
	return l.Ops.Attend(layer, q, k, v, column)
}

func (l *teacher) Linear(m *model.Linear, x []float32) []float32 {
	if l.over {
		return make([]float32, len(x)/m.In*m.Out)
	}
	y := l.Ops.Linear(m, x)
	if l.layer != nil && m == l.layer.O {
		copy(l.t.lessons[l.layer.Index].output[l.first*m.Out:], y)
		l.over = l.layer.Index == len(l.t.lessons)-1
	}
	return y
}

func (l *teacher) GatedProduct(layer *model.Layer, gate, up []float32) []float32 {
	if l.over {
		return gate
	}
	return l.Ops.GatedProduct(layer, gate, up)
}

// teach fills the lessons with what is kept of the text, or else by reading it.
func (t *transfer) teach(ctx context.Context, ids []int32) error {
	t.lessons = make([]lesson, len(t.layers))
	for i := range t.lessons {
		d := t.model.Base.Dims
		t.lessons[i].output, t.lessons[i].q = make([]float32, t.tokens*d.Hidden), make([]float32, t.tokens*d.Heads*d.HeadDim)
	}
	if t.cache == nil {
		return t.read(ctx, ids)
	}
	name := t.keptName("attention", ids)
	had, err := t.recall(name)
	if had || err != nil {
		return err
	}
	if err := t.read(ctx, ids); err != nil {
		return err
	}
	t.cache.Put(name, t.keptParts()...)
	return nil
}

// read runs the base with full attention, whose state keeps all keys and values.
func (t *transfer) read(ctx context.Context, ids []int32) error {
	base, err := model.New(t.model.Base, model.FullAttention(t.model.Spec.Segment), nil)
	if err != nil {
		return err
	}
	wrap := func(o model.Ops[[]float32], first int) model.Ops[[]float32] {
		return &teacher{Ops: t.rounding.wrapped(o, first), t: t, first: first}
	}
	// No segment carries a graph: the tape keeps the normed inputs alone.
	st := base.NewStream(model.StreamOptions{Wrap: wrap, Tape: newTape(t.layers, t.tokens)})
	if err := st.Feed(ctx, ids, 0, nil); err != nil {
		return err
	}
	for i, l := range st.State.Layers {
		t.lessons[i].k, t.lessons[i].v = l.K.Floats(), l.V.Floats()
	}
	return nil
}

// layer distills one layer: forward through the memory writes, then segment by
// segment from the last one back.
func (t *transfer) layer(ctx context.Context, i int) (loss float64, err error) {
	m, d, segment := t.model, t.model.Base.Dims, t.model.Spec.Segment
	var score []float32 // ρ of all tokens [tokens,K]
	if s := m.Params.Layers[i].TokenScore(); s != nil {
		score = scratch.Borrow(t.tokens * d.KVHeads)
		defer scratch.Release(score)
		s.Apply(score, t.layers[i].normed, t.tokens)
	}
	if m.Spec.At(i).Slots > 0 {
		t.penalise(scored{i, score, tokenIndices(0, t.tokens, d.KVHeads)})
	}
	memories := t.writeMemories(i, score)
	scale := t.options.Weight / t.energy(i)
	for s := t.tokens/segment - 1; s >= schedule.FirstTransferred; s-- {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		part, err := t.segment(i, s, score, memories[s], scale)
		if err != nil {
			return 0, fmt.Errorf("segment %d: %w", s, err)
		}
		loss += part
		if t.options.LossOnly {
			continue
		}
		if err := t.backwardWrites(i, s-1); err != nil {
			return 0, err
		}
	}
	if t.options.LossOnly {
		return loss / t.options.Weight, nil
	}
	return loss / t.options.Weight, t.backwardRest(i)
}

// penalise adds the gradients of a layer's penalty, and notes what it keeps.
func (t *transfer) penalise(l scored) {
	stats := &t.stats[l.layer]
	t.noteKept(stats, l, t.tokens)
	if stats.Kept > t.options.Keep {
		g := float32(t.options.Weight * t.options.KeepWeight / float64(len(l.score)))
		for j := range l.score {
			t.addKept(l, j, t.tokens, g)
		}
	}
	stats.Excess = 0
	if t.options.CapacityWeight > 0 {
		stats.Excess = t.capacityPenalty(l, t.plan, t.tokens, t.options.Penalty, t.options.Weight*t.options.CapacityWeight)
	}
}

// left returns the range [from,to) of the tokens that have left layer i's window when
// segment s is read.
func (t *transfer) left(i, s int) (from, to int) {
	first := s * t.plan.Segment()
	p := t.plan.Parts(i, first, first)
	return p.Sinks, p.Sinks + p.Left
}

// writeMemories writes what leaves the window segment by segment and returns
// the memory that each segment sees; nil without memory.
func (t *transfer) writeMemories(i int, score []float32) [][]float32 {
	m, d, segments := t.model, t.model.Base.Dims, t.tokens/t.model.Spec.Segment
	memories := make([][]float32, segments)
	if !m.Spec.HasMemory() {
		return memories
	}
	mem := model.Memory{Spec: m.Spec, Dims: d}
	now, done := make([]float32, mem.Size()), 0
	for s := range segments {
		from, end := t.left(i, s)
		if done = max(done, from); end > done {
			w, tokens := t.written(i, score, done, end), tokenIndices(done, end, d.KVHeads)
			if m.Spec.At(i).Decays() {
				w.Age = model.Ages(s*m.Spec.Segment, tokens)
			}
			t.layers[i].writes = append(t.layers[i].writes, write{after: s - 1, what: w, tokens: tokens, before: slices.Clone(now)})
			mem.Write(now, w, dataOf(m.Params.Layers[i].FeatureK))
			done = end
		}
		memories[s] = slices.Clone(now)
	}
	return memories
}

// written describes the tokens [from,to) as they enter the memory.
func (t *transfer) written(i int, score []float32, from, to int) model.Written {
	kv := t.model.Base.Dims.KVHeads
	w := kv * t.model.Base.Dims.HeadDim
	l := &t.lessons[i]
	out := model.Written{Keys: l.k[from*w : to*w], Values: l.v[from*w : to*w], Rows: to - from, Sign: t.model.Spec.ScoreSign()}
	if score != nil {
		out.Score = score[from*kv : to*kv]
	}
	return out
}

func tokenIndices(from, to, kvHeads int) []int32 {
	out := make([]int32, 0, (to-from)*kvHeads)
	for t := from; t < to; t++ {
		for range kvHeads {
			out = append(out, int32(t))
		}
	}
	return out
}

func dataOf(p *model.Param) []float32 {
	if p == nil {
		return nil
	}
	return p.Data
}

// energy is Σ weight·‖O(full)‖² over the compared tokens of layer i.
func (t *transfer) energy(i int) float64 {
	d, sum := t.model.Base.Dims.Hidden, 0.0
	for at := firstCompared(t.model); at < t.tokens; at++ {
		row := t.lessons[i].output[at*d : (at+1)*d]
		sum += importanceOf(t.importance, at) * float64(kernels.Dot(row, row))
	}
	return sum
}

// importanceOf is that of a token; nil: all are alike.
func importanceOf(importance []float32, token int) float64 {
	if importance == nil {
		return 1
	}
	return float64(importance[token])
}

// segment runs layer i's program on segment s and adds the gradients.
func (t *transfer) segment(i, s int, score, memory []float32, scale float64) (float64, error) {
	m, d, n := t.model, t.model.Base.Dims, t.model.Spec.Segment
	first := s * n
	from, to := t.left(i, s)
	if from == to { // nothing has left the window: the block is the base's own attention
		return 0, nil
	}
	past := pastOf{attention: t.attention(i, first), memory: memory}
	if m.Spec.At(i).Slots > 0 {
		past.attention.Score, past.attention.SlotAt, past.attention.Soft = score[from*d.KVHeads:to*d.KVHeads], from, true
		past.attention.Token, past.attention.Decay = tokenIndices(from, to, d.KVHeads), m.Spec.Decays()
	} else {
		past.attention = t.windowOnly(past.attention, from, to)
	}
	k, r := t.blockRun(transferKind, i, n, past)
	of, wq, wk := &t.lessons[i], d.Heads*d.HeadDim, d.KVHeads*d.HeadDim
	r.inputs = append(r.inputs, binding{name: "q", values: of.q[first*wq : (first+n)*wq]},
		binding{name: "k", values: of.k[first*wk : (first+n)*wk]}, binding{name: "v", values: of.v[first*wk : (first+n)*wk]})
	r.wanted, r.weights = t.lessons[i].output[first*d.Hidden:(first+n)*d.Hidden], make([]float32, n)
	for j := range r.weights {
		r.weights[j] = float32(scale * importanceOf(t.importance, first+j))
	}
	loss := 0.0
	r.stats, r.upstream, r.result = &t.stats[i], []float32{1}, func(y []float32) { loss = float64(y[0]) }
	return loss, t.programs.do(k, r)
}

// attention prepares what the segment starting at `first` sees of layer i:
// every token before it.
func (t *transfer) attention(i, first int) model.Attention {
	m, d, layer := t.model, t.model.Base.Dims, t.model.Base.Layers[i]
	w, pairs := d.KVHeads*d.HeadDim, len(layer.Rotary.InvFreq)
	pos := make([]int, first+m.Spec.Segment)
	for j := range pos {
		pos[j] = t.plan.TransferPosition(i, first, j)
	}
	cos, sin := layer.Rotary.At(pos)
	a := model.Attention{
		Dims: d, Scale: layer.AttentionScale, Softcap: layer.AttentionSoftcap, PastV: t.lessons[i].v[:first*w], Past: first, First: first, SlidingWindow: layer.SlidingWindow,
		Cos: cos[first*pairs:], Sin: sin[first*pairs:], QueryWeight: layer.QueryWeight,
	}
	a.PastK = make([]float32, first*w)
	model.RotateRows(a.PastK, t.lessons[i].k, first, d.KVHeads, d.HeadDim, cos[:first*pairs], sin[:first*pairs], false)
	return a
}

// windowOnly drops the tokens [from,to), for a block without slots.
func (t *transfer) windowOnly(a model.Attention, from, to int) model.Attention {
	w := t.model.Base.Dims.KVHeads * t.model.Base.Dims.HeadDim
	a.PastK = slices.Delete(a.PastK, from*w, to*w)
	a.PastV = slices.Delete(slices.Clone(a.PastV), from*w, to*w)
	a.Past -= to - from
	return a
}

// buildTransfer is the program of attention transfer: q [T,H·d], k and v [T,K·d], which are
// constants, through the block's attention and its projection to the weighted squared distance
// from the wanted output, [1].
func buildTransfer(b *builder) *G.Node {
	d, n := b.dims(), b.key.rows
	q := b.constant("q", n, d.Heads*d.HeadDim)
	k, v := b.constant("k", n, d.KVHeads*d.HeadDim), b.constant("v", n, d.KVHeads*d.HeadDim)
	return b.distance(model.ForwardAttention(b.rounded(newBlockNodes(b)), b.spec(), b.layer, q, k, v))
}

// distance is Σ weight·‖y - wanted‖² over the rows.
func (b *builder) distance(y *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	cols := y.Shape()[1]
	return b.apply("distance", tensor.Shape{1}, func(out []float32, in [][]float32) {
		sum := 0.0
		for t, w := range b.frame.run.weights {
			for j := t * cols; j < (t+1)*cols; j++ {
				e := float64(in[0][j] - b.frame.run.wanted[j])
				sum += float64(w) * e * e
			}
		}
		out[0] = float32(sum)
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		kernels.Each(b.key.rows, func(t int) {
			w := b.frame.run.weights[t]
			for j := t * cols; j < (t+1)*cols; j++ {
				grads[0][j] += 2 * w * dOut[0] * (in[0][j] - b.frame.run.wanted[j])
			}
		})
	}, y)
}

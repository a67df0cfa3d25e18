package graph

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"eisft/internal/floatcache"
	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/schedule"
)

// Sample is one training sequence: its tokens, and which of them are answers.
type Sample struct {
	IDs  []int32
	Loss []bool // Loss[i]: the prediction of token i counts
}

// Options say how a sample is differentiated.
type Options struct {
	// Soft keeps every token that left the window visible, raised by log σ(ρ);
	// otherwise slots are chosen hard, with a straight-through gradient.
	Soft bool
	// Penalty is for soft slots alone: the means are over layers with slots, KV heads and the
	// tokens that left the window.
	Penalty
	// TokenWeight is the weight of each answer token's cross-entropy: one over
	// the number of answer tokens in the whole batch.
	TokenWeight float64
	// SampleWeight is this sample's share of the penalty: one over the samples of the
	// batch.
	SampleWeight float64
	// LossOnly takes the loss alone: what grads hold afterwards means nothing.
	LossOnly bool
}

// Result is what a pass over one sample found.
type Result struct {
	Loss   float64 // TokenWeight times the summed cross-entropy (nats), or see TransferLogits
	Tokens int     // that have a loss
	Kept   float64 // mean of σ(ρ), with decay of σ(ρ)^age at the end, over layers, KV heads and the tokens that left the window
	Layers []model.LayerStats
}

// Engine differentiates samples through a model's blocks. It is not safe for
// use from several goroutines; the kernels use all cores.
type Engine struct {
	model      *model.Model
	rounding   *Rounding // nil: nothing is rounded
	forms      []form    // of each layer
	programs   programs
	keep       int               // bytes, see keptBytes
	stepWidths map[key][]int     // see widths
	unused     *model.Params     // gradients of parameters that a fit does not want
	cache      *floatcache.Cache // of what the base computes of a text; nil: nothing is kept
	base       string            // names base and rounding, where something is kept
}

// NewEngine returns an engine for a model, of a quantized one with its rounding (else
// nil). The model's parameters may change between passes.
func NewEngine(m *model.Model, r *Rounding) *Engine {
	e := &Engine{model: m, rounding: r, programs: programs{model: m, idle: map[key][]*program{}}, keep: keptBytes, stepWidths: map[key][]int{}}
	if r != nil {
		e.programs.round = r.Round
	}
	for i := range m.Base.Layers {
		e.forms = append(e.forms, formOf(m, i))
	}
	return e
}

// Backward adds a sample's gradients to grads, which has the layout of the
// model's parameters: S-SFT as in docs/method.md, section 5. The context streams
// without a graph; only segments from the first answer on carry one.
func (e *Engine) Backward(ctx context.Context, s Sample, o Options, grads *model.Params) (Result, error) {
	p, err := e.newPass(s, o, grads)
	if err != nil {
		return Result{}, err
	}
	if err := p.read(ctx, s.IDs); err != nil {
		return Result{}, err
	}
	return p.differentiate(ctx)
}

// AnswerTokens counts the marked tokens that have one before them to predict
// them.
func AnswerTokens(loss []bool) int { return len(lossRows(Sample{Loss: loss})) }

// lossRows lists the positions whose next token is an answer token.
func lossRows(s Sample) []int {
	var rows []int
	for i := range max(0, len(s.Loss)-1) {
		if s.Loss[i+1] {
			rows = append(rows, i)
		}
	}
	return rows
}

// pass is one sample forward and backward.
type pass struct {
	stateGrads
	options Options
	rows    []int // positions whose logits have a loss
	// target gives a run of the loss what some rows are compared with and their weights, for
	// which there is room, and returns the program.
	target  func(rows []int, r *run) kind
	stream  *model.Stream
	tape    *tape
	dOutput [][]float32 // of each live segment's last layer [T,D]; nil without loss
	stats   []model.LayerStats
}

// newPass prepares the recorded forward pass of a sample.
func (e *Engine) newPass(s Sample, o Options, grads *model.Params) (*pass, error) {
	rows := lossRows(s)
	if len(rows) == 0 {
		return nil, fmt.Errorf("the sample has no answer token after its first token; nothing to learn from")
	}
	p := e.startPass(s.IDs, rows, o, grads)
	p.target = func(rows []int, r *run) kind {
		r.targets = make([]int32, len(r.weights))
		for j, row := range rows {
			r.targets[j], r.weights[j] = s.IDs[row+1], float32(o.TokenWeight)
		}
		return headKind
	}
	return p, nil
}

// startPass prepares a recorded forward pass without a target.
func (e *Engine) startPass(ids []int32, rows []int, o Options, grads *model.Params) *pass {
	p := &pass{stateGrads: e.newStateGrads(grads, len(ids)), options: o, rows: rows}
	p.stats = make([]model.LayerStats, len(p.layers))
	p.tape = newTape(p.layers, schedule.FirstLive(rows[0]+1, e.model.Spec.Segment))
	wrap := e.rounding.wrap()
	if wrap == nil && !o.LossOnly { // what is rounded is rounded in place, and where the graph rounds it apart
		wrap = (&keeper{engine: e, tape: p.tape, tokens: len(ids), left: e.keep}).wrap
	}
	p.stream = e.model.NewStream(model.StreamOptions{Soft: o.Soft, NoRouting: true, Tape: p.tape, Wrap: wrap})
	return p
}

// read runs the recorded pass forward. Live segments are read as a whole, the last layer, too:
// what their backward pass reads is kept of all rows.
func (p *pass) read(ctx context.Context, ids []int32) error {
	return p.stream.Feed(ctx, ids, p.tape.gradFrom*p.model.Spec.Segment, nil)
}

// differentiate runs the recorded pass backward.
func (p *pass) differentiate(ctx context.Context) (Result, error) {
	p.dOutput = make([][]float32, len(p.tape.live))
	loss, err := p.loss()
	if err != nil {
		return Result{}, fmt.Errorf("loss: %w", err)
	}
	kept := p.penalise()
	if !p.options.LossOnly {
		if err := p.backward(ctx); err != nil {
			return Result{}, err
		}
	}
	return Result{Loss: loss, Tokens: len(p.rows), Kept: kept, Layers: p.stats}, nil
}

// lossChunk bounds the rows whose logits exist at a time.
const lossChunk = 128

// loss runs the rows that predict answer tokens through the head, chunk by
// chunk, and leaves the gradients of the last layer's output.
func (p *pass) loss() (float64, error) {
	total := 0.0
	for rows := range slices.Chunk(p.rows, lossChunk) {
		part, err := p.lossOf(rows)
		if err != nil {
			return 0, err
		}
		total += part
	}
	return total, nil
}

func (p *pass) lossOf(rows []int) (float64, error) {
	d, segment, padded := p.model.Base.Dims.Hidden, p.model.Spec.Segment, headRows(len(rows))
	x := scratch.BorrowZero(padded * d)
	defer scratch.Release(x)
	r := run{weights: make([]float32, padded)}
	for j, row := range rows {
		seg := p.tape.live[row/segment-p.tape.gradFrom]
		copy(x[j*d:(j+1)*d], seg.output[row%segment*d:])
	}
	k := p.target(rows, &r)
	var loss float64
	r.inputs = []binding{{"x", x, func(g []float32) { p.addOutput(rows, g) }}}
	r.upstream, r.result = []float32{1}, func(y []float32) { loss = float64(y[0]) }
	return loss, p.programs.do(key{kind: k, rows: padded}, r)
}

// addOutput takes the gradients of the last layer's output, of the rows of a chunk.
func (p *pass) addOutput(rows []int, g []float32) {
	d, segment := p.model.Base.Dims.Hidden, p.model.Spec.Segment
	for j, row := range rows {
		i := row/segment - p.tape.gradFrom
		if p.dOutput[i] == nil {
			p.dOutput[i] = make([]float32, len(p.tape.live[i].output))
		}
		copy(p.dOutput[i][row%segment*d:row%segment*d+d], g[j*d:])
	}
}

// penalise adds the gradients of the penalty, notes what layers keep and returns the mean of
// what is kept.
func (p *pass) penalise() float64 {
	s, o := p.stream.State, p.options
	if !o.Soft || p.model.Spec.Slots == 0 || !s.Evicted() {
		return 0
	}
	kv := p.model.Base.Dims.KVHeads
	var layers []scored
	mean, scores := 0.0, 0
	for i, l := range s.Layers {
		if l.Score != nil {
			parts := s.Parts(i)
			from, to := parts.Sinks*kv, (parts.Sinks+parts.Slots)*kv
			of := scored{i, l.Score[from:to], l.Token[from:to]}
			p.noteKept(&p.stats[i], of, s.Seen())
			layers, mean, scores = append(layers, of), mean+p.stats[i].Kept, scores+to-from
		}
	}
	mean /= float64(len(layers))
	if o.CapacityWeight > 0 {
		weight := o.SampleWeight * o.CapacityWeight / float64(len(layers))
		for _, l := range layers {
			p.stats[l.layer].Excess = p.capacityPenalty(l, s.Plan(), s.Seen()-s.Parts(l.layer).Recent, o.Penalty, weight)
		}
	}
	if mean <= o.Keep {
		return mean
	}
	g := float32(o.SampleWeight * o.KeepWeight / float64(scores))
	for _, l := range layers {
		for j := range l.score {
			p.addKept(l, j, s.Seen(), g)
		}
	}
	return mean
}

// backward runs the live segments and the writes between them, last first. Then
// layers have nothing to do with each other: the writes before and the scores of
// all tokens.
func (p *pass) backward(ctx context.Context) error {
	for i := len(p.tape.live) - 1; i >= 0; i-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		live := p.tape.live[i]
		err := eachLayer(len(p.layers), func(layer int) error { return p.backwardWrites(layer, live.index) })
		if err != nil {
			return err
		}
		if p.dOutput[i] == nil {
			continue
		}
		if err := p.liveSegment(i, p.dOutput[i]); err != nil {
			return fmt.Errorf("segment %d: %w", live.index, err)
		}
	}
	return eachLayer(len(p.layers), p.backwardRest)
}

// eachLayer calls f for n layers, several at once, and returns the first one's error.
func eachLayer(n int, f func(layer int) error) error {
	errs := make([]error, n)
	kernels.Each(n, func(i int) {
		if err := f(i); err != nil {
			errs[i] = fmt.Errorf("layer %d: %w", i, err)
		}
	})
	return cmp.Or(errs...)
}

// liveSegment runs the layers of the at-th live segment backward.
func (p *pass) liveSegment(at int, dx []float32) error {
	for i := len(p.layers) - 1; i >= 0; i-- {
		var k *activations
		if at < len(p.tape.activations) && p.tape.activations[at] != nil {
			k = p.tape.activations[at][i]
		}
		if err := p.layer(i, p.tape.live[at], k, dx); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return nil
}

// layer runs a block program; dx is the gradient of the layer's output, and of
// its input afterwards, when the program has no more use for the former.
func (p *pass) layer(i int, s liveSegment, of *activations, dx []float32) error {
	k, r := p.blockRun(blockKind, i, len(dx)/p.model.Base.Dims.Hidden, s.past[i])
	r.stats, r.upstream = &p.stats[i], dx
	r.inputs = append(r.inputs, binding{"x", s.inputs[i], copyTo(dx)})
	if of != nil && of.values != nil {
		r.activations = of
		defer of.release()
	}
	return p.programs.do(k, r)
}

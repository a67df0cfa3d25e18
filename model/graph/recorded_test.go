package graph

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/modeltest"
)

// recorded is a pass whose loss can be computed anew from its tape, for parameters that
// differ from those it was recorded with. What is a constant for differentiation stays as
// it was: stored keys and values, the inputs of scores, which tokens the slots hold.
// Scores, memories and the live segments are computed anew, without the graph. That is
// the function whose gradient [Engine.Backward] is to be, for any number of layers.
//
// With hard slots that gradient goes straight through: log σ(ρ) - log σ(ρ₀) is added to
// the logits, with the recorded ρ₀, which is zero but for its derivative.
type recorded struct {
	*pass
	sample Sample
	writes [][]write // of each layer; the pass takes its own away
}

func record(t *testing.T, m *model.Model, s Sample, o Options, grads *model.Params) *recorded {
	t.Helper()
	p, err := NewEngine(m, nil).newPass(s, o, grads)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.read(t.Context(), s.IDs); err != nil {
		t.Fatal(err)
	}
	r := &recorded{pass: p, sample: s}
	for i := range p.layers {
		r.writes = append(r.writes, slices.Clone(p.layers[i].writes))
	}
	return r
}

// checkRecorded checks the gradients of a sample with those of the recorded pass.
func checkRecorded(t *testing.T, m *model.Model, s Sample, o Options) {
	t.Helper()
	grads := m.Params.Zero()
	p := record(t, m, s, o, grads)
	before := p.value()
	got, err := p.differentiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, excess, layers := got.Loss+o.SampleWeight*o.KeepWeight*math.Max(0, got.Kept-o.Keep), 0.0, 0
	for i, l := range got.Layers {
		if m.Spec.At(i).Slots > 0 {
			excess, layers = excess+l.Excess, layers+1
		}
	}
	want += o.SampleWeight * o.CapacityWeight * excess / float64(max(layers, 1))
	if math.Abs(before-want) > 1e-5 {
		t.Fatalf("the recorded pass has the loss %.7f, the engine %.7f", before, want)
	}
	g := modeltest.Gradients{Value: p.value}
	g.CheckParams(t, m.Params, grads)
}

// value is the loss with the keep penalty.
func (p *recorded) value() float64 {
	scores := make([][]float32, len(p.layers))
	for i := range p.layers {
		scores[i] = p.scores(i)
	}
	sum := p.penalty(scores)
	for _, s := range p.tape.live {
		x := s.inputs[0]
		for i, l := range p.model.Base.Layers {
			x = model.Forward[[]float32](p.ops(i, s, scores[i]), p.model.Spec.At(i), l, x)
		}
		sum += p.lossIn(s, x)
	}
	return sum
}

// scores are those of all tokens [tokens,K], nil in a layer that keeps none.
func (p *recorded) scores(i int) []float32 {
	s := p.model.Params.Layers[i].TokenScore()
	if s == nil {
		return nil
	}
	out, rows := make([]float32, len(p.dScore[i])), len(p.sample.IDs)
	s.Apply(out, p.layers[i].normed, rows)
	return out
}

// pick returns the scores of tokens [n,K].
func pick(score []float32, tokens []int32, kvHeads int) []float32 {
	out := make([]float32, len(tokens))
	for j, t := range tokens {
		out[j] = score[int(t)*kvHeads+j%kvHeads]
	}
	return out
}

// penalty is that of what soft slots keep.
func (p *recorded) penalty(scores [][]float32) float64 {
	s, o, kv := p.stream.State, p.options, p.model.Base.Dims.KVHeads
	sum, n := 0.0, 0
	excess, layers := 0.0, 0
	for i, l := range s.Layers {
		if l.Score == nil || p.model.Spec.At(i).Slots == 0 || !o.Soft {
			continue
		}
		parts := s.Parts(i)
		tokens := l.Token[parts.Sinks*kv : (parts.Sinks+parts.Slots)*kv]
		for j, v := range pick(scores[i], tokens, kv) {
			age := 1.0
			if p.model.Spec.Decays() {
				age = float64(s.Seen() - int(tokens[j]))
			}
			sum, n = sum+math.Pow(1/(1+math.Exp(-float64(v))), age), n+1
		}
		excess, layers = excess+p.excess(scores[i]), layers+1
	}
	keep := o.KeepWeight * math.Max(0, sum/float64(max(n, 1))-o.Keep)
	return o.SampleWeight * (keep + o.CapacityWeight*excess/float64(max(layers, 1)))
}

// excess is what a layer with the scores [tokens,K] keeps beyond the capacity at the ends of
// segments.
func (p *recorded) excess(score []float32) float64 {
	s, o, kv := p.model.Spec, p.options, p.model.Base.Dims.KVHeads
	sum, n := 0.0, 0
	for end := s.Segment; end <= len(p.sample.IDs); end += s.Segment {
		for g := 0; g < kv && end > s.Sink+s.Window; g++ {
			kept := 0.0
			for t := s.Sink; t < end-s.Window; t++ {
				age := 1.0
				if s.Retention.Decay {
					age = float64(end - t)
				}
				kept += math.Pow(1/(1+math.Exp(-float64(score[t*kv+g]))), age)
			}
			sum, n = sum+math.Max(0, kept-float64(o.Capacity))/float64(o.Capacity), n+1
		}
	}
	return sum / float64(max(n, 1))
}

// lossIn is the loss of the answers that a segment's last layer predicts.
func (p *recorded) lossIn(s liveSegment, x []float32) (sum float64) {
	b, d := p.model.Base, p.model.Base.Dims.Hidden
	h, logits := make([]float32, d), make([]float32, b.Head.Out)
	for _, row := range p.rows {
		if row/p.model.Spec.Segment != s.index {
			continue
		}
		b.Norm.Apply(h, x[row%p.model.Spec.Segment*d:][:d])
		b.Head.Apply(logits, h)
		b.FinishLogits(logits)
		of := 0.0
		for _, v := range logits {
			of += math.Exp(float64(v))
		}
		sum += p.options.TokenWeight * (math.Log(of) - float64(logits[p.sample.IDs[row+1]]))
	}
	return sum
}

// ops is the backend of layer i in a live segment.
func (p *recorded) ops(i int, s liveSegment, score []float32) *plainOps {
	past, kv := s.past[i], p.model.Base.Dims.KVHeads
	o := &plainOps{model: p.model, params: &p.model.Params.Layers[i], attention: past.attention}
	if n := len(past.attention.Score); n > 0 {
		o.bias = pick(score, past.attention.Token, kv)
		for j, v := range o.bias {
			o.bias[j] = kernels.LogSigmoid1(v)
			if !p.options.Soft {
				o.bias[j] -= kernels.LogSigmoid1(past.attention.Score[j])
			}
		}
	}
	if past.memory == nil {
		return o
	}
	mem := model.Memory{Spec: p.model.Spec, Dims: p.model.Base.Dims}
	o.memory = make([]float32, mem.Size())
	for _, w := range p.writes[i] {
		if w.after >= s.index {
			break
		}
		what := w.what
		if what.Score != nil {
			what.Score = pick(score, w.tokens, kv)
		}
		mem.Write(o.memory, what, dataOf(o.params.FeatureK))
	}
	return o
}

// plainOps carries out a layer on slices, with an attention in float64 that follows the
// definition.
type plainOps struct {
	model     *model.Model
	params    *model.LayerParams
	attention model.Attention
	bias      []float32 // [N,K] added to the slots' logits
	memory    []float32 // nil while it is not in use
}

func (o *plainOps) Norm(n *model.Norm, x []float32) []float32 {
	y := make([]float32, len(x))
	n.Apply(y, x)
	return y
}

func (o *plainOps) Linear(l *model.Linear, x []float32) []float32 {
	y := make([]float32, len(x)/l.In*l.Out)
	l.Apply(y, x)
	return y
}

func (o *plainOps) GatedProduct(l *model.Layer, gate, up []float32) []float32 {
	y := make([]float32, len(gate))
	l.Activation.Product(y, gate, up)
	return y
}

func (o *plainOps) Copy(x []float32) []float32 { return x }

func (o *plainOps) Residual(l *model.Layer, x, y []float32) []float32 {
	sum := slices.Clone(x)
	scale := l.ResidualScale
	if scale == 0 {
		scale = 1
	}
	kernels.Axpy(scale, y, sum)
	return sum
}

func (o *plainOps) Remember(*model.Layer, []float32, []float32, []float32) {}

func (o *plainOps) MemoryInUse() bool { return o.memory != nil }

func (o *plainOps) rows(q []float32) int { return len(q) / (o.dims().Heads * o.dims().HeadDim) }

func (o *plainOps) dims() model.Dims { return o.model.Base.Dims }

func (o *plainOps) ReadMemory(_ *model.Layer, q []float32) []float32 {
	d, rows := o.dims(), o.rows(q)
	read := make([]float32, rows*d.Heads*(d.HeadDim+1))
	model.Memory{Spec: o.model.Spec, Dims: d}.Read(read, q, o.memory, dataOf(o.params.FeatureQ), dataOf(o.params.ReadMap), rows)
	return read
}

func (o *plainOps) gate() model.GateOp { return model.GateOp{Gate: o.model.Spec.Gate, Dims: o.dims()} }

func (o *plainOps) GateLogit(_ *model.Layer, q, read []float32) []float32 {
	logit := make([]float32, o.rows(q)*o.gate().Width())
	o.gate().Logit(logit, model.GateInputs{Q: q, Read: read, Params: model.DataOf(o.params.Gate)})
	return logit
}

func (o *plainOps) Mix(_ *model.Layer, logit, read, local []float32) []float32 {
	y := make([]float32, len(local))
	o.gate().Mix(y, logit, read, local, o.rows(local))
	return y
}

func (o *plainOps) Attend(_ *model.Layer, q, k, v []float32, column *model.Column[[]float32]) []float32 {
	a, d, rows := o.attention, o.dims(), o.rows(q)
	rq, rk, out := make([]float32, len(q)), make([]float32, len(k)), make([]float32, len(q))
	model.RotateRows(rq, q, rows, d.Heads, d.HeadDim, a.Cos, a.Sin, false)
	for i := range rq {
		if w := a.QueryWeight; w != nil {
			rq[i] *= w[i%len(w)]
		}
	}
	model.RotateRows(rk, k, rows, d.KVHeads, d.HeadDim, a.Cos, a.Sin, false)
	w := d.KVHeads * d.HeadDim
	keys, values := slices.Concat(a.PastK[:a.Past*w], rk), slices.Concat(a.PastV[:a.Past*w], v)
	for at := range rows * d.Heads {
		o.attendHead(out[at*d.HeadDim:][:d.HeadDim], rq[at*d.HeadDim:], keys, values, at, column)
	}
	return out
}

// attendHead writes the output of one query head of one token, number at = t·H+h.
func (o *plainOps) attendHead(out, q, keys, values []float32, at int, column *model.Column[[]float32]) {
	a, d := o.attention, o.dims()
	t, g := at/d.Heads, at%d.Heads/(d.Heads/d.KVHeads)
	y, total := make([]float64, d.HeadDim), 0.0
	see := func(logit float64, value []float32) {
		p := math.Exp(logit)
		total += p
		for i := range y {
			y[i] += p * float64(value[i])
		}
	}
	for j := range a.Past + t + 1 {
		if a.SlidingWindow > 0 && j <= a.Past+t-a.SlidingWindow {
			continue
		}
		row := (j*d.KVHeads + g) * d.HeadDim
		logit := along(q[:d.HeadDim], keys[row:]) * float64(a.Scale)
		if c := float64(a.Softcap); c != 0 {
			logit = c * math.Tanh(logit/c)
		}
		if n := j - a.SlotAt; n >= 0 && n*d.KVHeads < len(o.bias) {
			age := 1.0
			if a.Decay {
				age = float64(a.First + t - int(a.Token[n*d.KVHeads+g]))
			}
			logit += age * float64(o.bias[n*d.KVHeads+g])
		}
		see(logit, values[row:])
	}
	if column != nil {
		see(float64(column.Logit[at]), column.Read[at*(d.HeadDim+1):])
	}
	for i := range out {
		out[i] = float32(y[i] / total)
	}
}

// TestRecordedGradients checks blocks in two layers, with hard slots where they have any.
func TestRecordedGradients(t *testing.T) {
	for name, s := range specs() {
		if !crosses(s) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(19, 20))
			m, o := testModel(t, s, r, plain, plain), softOptions()
			o.Soft = s.Slots == 0
			checkRecorded(t, m, testSample(r), o)
		})
	}
}

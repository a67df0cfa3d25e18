package graph

import (
	"context"
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
)

// TransferLogits adds the gradients of a distillation of logits to grads: the base reads the
// text with full attention, the block in segments with soft slots, and the loss is the
// divergence KL(base‖block) of what they say comes next (Hinton et al., arXiv 1503.02531;
// TRIM-KV, arXiv 2512.03324, trains its gate so), over all tokens from the first segment on
// before which a token has left the window. Until then both see the same. importance
// [len(ids)] weighs the tokens (nil: all alike). Gradients go through the frozen layers as
// those of [Engine.Backward] do. Of the base's logits only those of some rows exist at a
// time.
//
// The result's loss is Weight times the mean divergence in nats.
func (e *Engine) TransferLogits(ctx context.Context, ids []int32, importance []float32, o TransferOptions, grads *model.Params) (Result, error) {
	first := e.model.Spec.Sizes().Unevicted() // logits differ behind these
	if len(ids) <= first {
		return Result{}, fmt.Errorf("the text has %d tokens; a distillation of logits needs more than %d, or no token leaves the window", len(ids), first)
	}
	var rows []int
	for t := first; t < len(ids); t++ {
		rows = append(rows, t)
	}
	hidden, err := e.readFully(ctx, ids, first)
	if err != nil {
		return Result{}, err
	}
	weights := tokenWeights(importance, rows, o.Weight)
	p := e.startPass(ids, rows, Options{Soft: true, Penalty: o.Penalty, SampleWeight: o.Weight, LossOnly: o.LossOnly}, grads)
	d, v := e.model.Base.Dims.Hidden, e.model.Base.Head.Out
	p.target = func(rows []int, r *run) kind {
		for j, row := range rows {
			r.weights[j] = weights[row-first]
		}
		r.wanted = make([]float32, len(r.weights)*v)
		e.model.Logits(r.wanted[:len(rows)*v], hidden[(rows[0]-first)*d:][:len(rows)*d])
		return logitsKind
	}
	if err := p.read(ctx, ids); err != nil {
		return Result{}, err
	}
	return p.differentiate(ctx)
}

// readFully returns the last hidden states [len(ids)-from,D] of the base with full
// attention, after the final norm, those that are kept if there are any.
func (e *Engine) readFully(ctx context.Context, ids []int32, from int) (hidden []float32, err error) {
	name := ""
	if e.cache != nil {
		name, hidden = e.keptName("logits", ids), make([]float32, (len(ids)-from)*e.model.Base.Dims.Hidden)
		if had, err := e.cache.Get(name, hidden); had || err != nil {
			return hidden, err
		}
		hidden = hidden[:0]
	}
	base, err := model.New(e.model.Base, model.FullAttention(e.model.Spec.Segment), nil)
	if err != nil {
		return nil, err
	}
	st := base.NewStream(model.StreamOptions{Wrap: e.rounding.wrap()})
	err = st.Feed(ctx, ids, from, func(_ int, h []float32) error {
		hidden = append(hidden, h...)
		return nil
	})
	if err == nil {
		e.cache.Put(name, hidden)
	}
	return hidden, err
}

// tokenWeights are those of rows in a mean that is worth total.
func tokenWeights(importance []float32, rows []int, total float64) []float32 {
	sum := 0.0
	for _, row := range rows {
		sum += importanceOf(importance, row)
	}
	out := make([]float32, len(rows))
	for j, row := range rows {
		out[j] = float32(total * importanceOf(importance, row) / sum)
	}
	return out
}

// buildLogits is the program of the divergence: the last layer's output for n rows x [n,D]
// to Σ weight·KL(softmax(wanted)‖softmax(logits)), [1].
func buildLogits(b *builder) *G.Node {
	logits := buildRowLogits(b)
	if b.err != nil {
		return nil
	}
	cols := logits.Shape()[1]
	return b.apply("divergence", tensor.Shape{1}, func(out []float32, in [][]float32) {
		sum := 0.0
		for t, w := range b.frame.run.weights {
			if w != 0 {
				sum += float64(w) * divergence(b.frame.run.wanted[t*cols:(t+1)*cols], in[0][t*cols:(t+1)*cols])
			}
		}
		out[0] = float32(sum)
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		r := b.frame.run
		kernels.Each(len(r.weights), func(t int) {
			row, w := grads[0][t*cols:(t+1)*cols], dOut[0]*r.weights[t]
			if w == 0 {
				return
			}
			wanted := scratch.Borrow(cols)
			defer scratch.Release(wanted)
			copy(wanted, r.wanted[t*cols:(t+1)*cols])
			kernels.Softmax(wanted)
			copy(row, in[0][t*cols:(t+1)*cols])
			kernels.Softmax(row)
			kernels.Axpy(-1, wanted, row)
			kernels.Scale(w, row)
		})
	}, logits)
}

// divergence is KL(p‖q) of the softmax of two rows of logits, in nats.
func divergence(wanted, logits []float32) float64 {
	p, lse := scratch.Borrow(len(wanted)), kernels.LogSumExp(logits)
	defer scratch.Release(p)
	copy(p, wanted)
	of := kernels.Softmax(p)
	sum := 0.0
	for i, share := range p {
		sum += float64(share) * (float64(wanted[i]-of) - float64(logits[i]-lse))
	}
	return sum
}

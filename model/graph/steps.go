package graph

import (
	"math"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/model"
	"eisft/model/kernels"
)

// buildTokenScore is the program of what the state keeps of T tokens beside keys
// and values: normed inputs h [T,D] to a score [T,K], as [model.TokenScore] has it.
func buildTokenScore(b *builder) *G.Node {
	h := b.constant("h", b.key.rows, b.dims().Hidden)
	of := func(part func(*model.TokenScore) *model.Param) *G.Node {
		return b.param(func(p *model.LayerParams) *model.Param {
			if s := p.TokenScore(); s != nil {
				return part(s)
			}
			return nil
		})
	}
	if v := of(func(s *model.TokenScore) *model.Param { return s.HiddenWeight }); v != nil {
		h = b.affine("hidden_units", model.HiddenUnits, h, v, of(func(s *model.TokenScore) *model.Param { return s.HiddenBias }))
		h = b.apply("silu", shapeOf(h), func(out []float32, in [][]float32) {
			model.SiLU1(out, in[0])
		}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
			model.SiLU1Backward(grads[0], dOut, in[0])
		}, h)
	}
	return b.affine("token_score", model.ScoreHeads, h, of(func(s *model.TokenScore) *model.Param { return s.Weight }), of(func(s *model.TokenScore) *model.Param { return s.Bias }))
}

// affine is hWᵀ + c [T,n] of h [T,m], w [n,m] and c [n], as forward computes it.
func (b *builder) affine(name string, forward func(dst, h, w, c []float32, rows int), h, w, c *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	rows, outs, ins := b.key.rows, w.Shape()[0], w.Shape()[1]
	return b.apply(name, tensor.Shape{rows, outs}, func(out []float32, in [][]float32) {
		forward(out, in[0], in[1], in[2], rows)
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		kernels.Gemm(true, false, outs, ins, rows, 1, dOut, outs, in[0], ins, 0, grads[1], ins)
		for t := range rows {
			kernels.Add(grads[2], dOut[t*outs:(t+1)*outs])
		}
		if grads[0] != nil { // else h is a constant
			kernels.Gemm(false, false, rows, ins, outs, 1, dOut, outs, in[1], ins, 0, grads[0], ins)
		}
	}, h, w, c)
}

// buildWrite is the program of a write to a layer's memory: the memory [K,F,d+1],
// the score [m,K] that decides each token's weight (if the layer has one) and the
// keys' feature map to the memory afterwards. Keys and values come with the run.
func buildWrite(b *builder) *G.Node {
	d, mem := b.dims(), model.Memory{Spec: b.spec(), Dims: b.dims()}
	shape := tensor.Shape{d.KVHeads, mem.Spec.FeatureSize(d.HeadDim), d.HeadDim + 1}
	memory := b.input("memory", shape...)
	var score *G.Node
	if b.key.scores > 0 {
		score = b.input("score", b.key.scores, d.KVHeads)
	}
	featureK := b.param(func(p *model.LayerParams) *model.Param { return p.FeatureK })
	at := places(memory, score, featureK)
	return b.apply("write_memory", shape, func(out []float32, in [][]float32) {
		copy(out, in[0])
		mem.Write(out, b.frame.run.written, at.of(in, 2))
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		copy(grads[0], dOut)
		mem.WriteBackward(grads[0], at.of(grads, 2), at.of(grads, 1), in[0], b.frame.run.written, at.of(in, 2))
	}, memory, score, featureK)
}

// buildHead is the program of the loss: the last layer's output for n rows x [n,D] to the
// weighted sum of the rows' cross-entropies, [1].
func buildHead(b *builder) *G.Node { return b.crossEntropy(buildRowLogits(b)) }

// buildRowLogits is the last layer's output for n rows x [n,D] through the final norm, the
// output projection and what becomes of its products to logits [n,V].
func buildRowLogits(b *builder) *G.Node {
	base := b.model.Base
	h := b.norm(func() *model.Norm { return base.Norm }, b.input("x", b.key.rows, b.dims().Hidden))
	logits := b.linear(func() *model.Linear { return base.Head }, base.Head.Out, b.round(Site{}, h))
	logits = b.round(Site{Output: true}, logits)
	if base.LogitScale != 0 || base.LogitSoftcap != 0 {
		logits = b.finishLogits(logits)
	}
	return logits
}

// finishLogits is [model.Base.FinishLogits].
func (b *builder) finishLogits(products *G.Node) *G.Node {
	base := b.model.Base
	return b.apply("finish_logits", shapeOf(products), func(out []float32, in [][]float32) {
		copy(out, in[0])
		base.FinishLogits(out)
	}, func(grads [][]float32, dOut, out []float32, _ [][]float32) {
		copy(grads[0], dOut)
		base.FinishLogitsBackward(grads[0], out)
	}, products)
}

// crossEntropy is Σ weight·(log Σ exp(logits) - logits[target]) over the rows.
// It is one op since Gorgonia merges a SoftMax and a LogSoftMax of one node.
func (b *builder) crossEntropy(logits *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	cols := logits.Shape()[1]
	return b.apply("cross_entropy", tensor.Shape{1}, func(out []float32, in [][]float32) {
		sum := 0.0
		for t, id := range b.frame.run.targets {
			row := in[0][t*cols : (t+1)*cols]
			sum += float64(b.frame.run.weights[t]) * float64(kernels.LogSumExp(row)-row[id])
		}
		out[0] = float32(sum)
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		r := b.frame.run
		kernels.Each(len(r.targets), func(t int) {
			row, w := grads[0][t*cols:(t+1)*cols], dOut[0]*r.weights[t]
			if w == 0 {
				return
			}
			copy(row, in[0][t*cols:(t+1)*cols])
			kernels.Softmax(row)
			row[r.targets[t]]--
			kernels.Scale(w, row)
		})
	}, logits)
}

// headRows rounds a number of loss rows up, so that few programs serve all.
func headRows(n int) int { return int(math.Ceil(float64(n)/16)) * 16 }

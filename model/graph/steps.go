package graph

import (
	"fmt"
	"math"
	"sync"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"eisft/model"
	"eisft/model/kernels"
)

// newTokenScore builds the program of what the state keeps of T tokens beside
// keys and values: normed inputs h [T,D], a weight [K,D] and a bias [K] to a
// score [T,K]. It serves the retention score and the write gate's logit.
func newTokenScore(m *model.Model, tokens int) (*program, error) {
	b, d := newBuilder(), m.Base.Dims
	h := b.input("h", true, tokens, d.Hidden)
	w, c := b.input("weight", false, d.KVHeads, d.Hidden), b.input("bias", false, d.KVHeads)
	return b.compile(b.apply("token_score", tensor.Shape{tokens, d.KVHeads}, func(out []float32, in [][]float32) {
		model.TokenScore(out, in[0], in[1], in[2], tokens)
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		kernels.Gemm(true, false, d.KVHeads, d.Hidden, tokens, 1, dOut, d.KVHeads, in[0], d.Hidden, 0, grads[1], d.Hidden)
		for t := range tokens {
			kernels.Add(grads[2], dOut[t*d.KVHeads:(t+1)*d.KVHeads])
		}
	}, h, w, c))
}

// newWrite builds the program of a write to a layer's memory: the memory
// [K,F,d+1], the score [m,K] that decides each token's weight (if the layer has
// one) and the keys' feature map to the memory afterwards. Keys and values come
// with the run.
func newWrite(m *model.Model, k writeKey) (*program, error) {
	b, d := newBuilder(), m.Base.Dims
	shape := tensor.Shape{d.KVHeads, m.Spec.FeatureSize(d.HeadDim), d.HeadDim + 1}
	memory := b.input("memory", false, shape...)
	var score *G.Node
	if k.scored {
		score = b.input("score", false, k.tokens, d.KVHeads)
	}
	featureK := b.param("feature_k", m.Params.Layers[0].FeatureK)
	mem, at := model.Memory{Spec: m.Spec, Dims: d}, places(memory, score, featureK)
	return b.compile(b.apply("write_memory", shape, func(out []float32, in [][]float32) {
		copy(out, in[0])
		mem.Write(out, b.frame.run.written, at.of(in, 2))
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		copy(grads[0], dOut)
		mem.WriteBackward(grads[0], at.of(grads, 2), at.of(grads, 1), in[0], b.frame.run.written, at.of(in, 2))
	}, memory, score, featureK))
}

// newHead builds the program of the loss: the last layer's output for n rows
// [n,D] through the final norm and the output projection to the weighted sum
// of the rows' cross-entropies, [1].
func newHead(m *model.Model, rows int) (*program, error) {
	b, d := newBuilder(), m.Base.Dims
	x := b.input("x", false, rows, d.Hidden)
	h := b.apply("final_norm", tensor.Shape{rows, d.Hidden}, func(out []float32, in [][]float32) {
		m.Base.Norm.Apply(out, in[0])
	}, func(grads [][]float32, dOut, _ []float32, in [][]float32) {
		n := m.Base.Norm
		kernels.RMSNormGrad(grads[0], dOut, in[0], n.Weight, rows, d.Hidden, n.Eps)
	}, x)
	logits := b.linear(func() *model.Linear { return m.Base.Head }, m.Base.Head.Out, h)
	return b.compile(b.crossEntropy(logits))
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

// programs builds a program for each shape, and more where several runs of one
// shape go on at once.
type programs struct {
	model *model.Model
	mutex sync.Mutex
	idle  map[any][]*program
}

type (
	tokenScoreKey int
	headKey       int
	writeKey      struct {
		tokens int
		scored bool // the layer keeps a score with every token
	}
)

// do runs the program of a key: a shape (of a block), transferKey,
// tokenScoreKey, writeKey or headKey. See [program.do].
func (p *programs) do(key any, r run, inputs [][]float32, use func(outputs [][]float32)) error {
	prog := p.take(key)
	if prog == nil {
		var err error
		if prog, err = p.build(key); err != nil {
			return fmt.Errorf("build the program %T%+v: %w", key, key, err)
		}
	}
	err := prog.do(r, inputs, use)
	p.mutex.Lock()
	p.idle[key] = append(p.idle[key], prog)
	p.mutex.Unlock()
	return err
}

// take returns an idle program or nil.
func (p *programs) take(key any) *program {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	list := p.idle[key]
	if len(list) == 0 {
		return nil
	}
	last := len(list) - 1
	p.idle[key] = list[:last]
	return list[last]
}

func (p *programs) build(key any) (*program, error) {
	switch k := key.(type) {
	case shape:
		return newBlock(p.model, k)
	case transferKey:
		return newTransfer(p.model, k)
	case tokenScoreKey:
		return newTokenScore(p.model, int(k))
	case writeKey:
		return newWrite(p.model, k)
	default:
		return newHead(p.model, int(key.(headKey)))
	}
}

// headRows rounds a number of loss rows up, so that few programs serve all.
func headRows(n int) int { return int(math.Ceil(float64(n)/16)) * 16 }

// Package exporttest makes small models with random weights, and quantizes them.
package exporttest

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"eisft/data"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
	"eisft/quant"
)

// randomTensors makes up every tensor that a model asks for, the same one for the same
// name.
type randomTensors struct{ *hf.Config }

func (randomTensors) Names() []string { return nil }

func (r randomTensors) Tensor(name string) (hf.Tensor, error) {
	shape := r.shape(strings.Split(name, "."))
	n, mean, deviation := 1, 0.0, 0.2
	for _, s := range shape {
		n *= s
	}
	switch {
	case len(shape) == 2:
		deviation = 1.5 / math.Sqrt(float64(shape[1]))
	case strings.HasSuffix(name, "norm.weight"):
		mean = 1
	}
	hash := fnv.New64()
	_, _ = hash.Write([]byte(name)) // a hash never fails
	random := rand.New(rand.NewPCG(hash.Sum64(), 0))
	data := make([]byte, 4*n)
	for i := range n {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(float32(mean+deviation*random.NormFloat64())))
	}
	return hf.Tensor{Name: name, DType: hf.DTypeF32, Shape: shape, Data: data}, nil
}

// shape is that of a tensor whose name has the given parts.
func (r randomTensors) shape(name []string) []int {
	q, kv, d, f := r.NumAttentionHeads*r.HeadDim, r.NumKeyValueHeads*r.HeadDim, r.HiddenSize, r.IntermediateSize
	matrices := map[string][]int{
		"embed_tokens": {r.VocabSize, d}, "lm_head": {r.VocabSize, d},
		"q_proj": {q, d}, "k_proj": {kv, d}, "v_proj": {kv, d}, "o_proj": {d, q},
		"gate_proj": {f, d}, "up_proj": {f, d}, "down_proj": {d, f},
	}
	part := name[len(name)-2]
	matrix, ok := matrices[part]
	switch {
	case ok && name[len(name)-1] == "bias":
		return matrix[:1]
	case ok:
		return matrix
	case part == "q_norm" && r.QKNormWhole:
		return []int{q}
	case part == "k_norm" && r.QKNormWhole:
		return []int{kv}
	case part == "q_norm" || part == "k_norm":
		return []int{r.HeadDim}
	default:
		return []int{d}
	}
}

// Model returns a model of two layers with random weights and trained parameters.
// change, if not nil, changes the base's configuration.
func Model(t testing.TB, spec model.Spec, change func(*hf.Config)) *model.Model {
	t.Helper()
	c := &hf.Config{
		VocabSize: 50, HiddenSize: 24, NumHiddenLayers: 2, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 8,
		IntermediateSize: 40, HiddenAct: string(model.SiLU), RMSNormEps: 1e-5, Rope: hf.Rope{Type: "default", Theta: 10000},
		QueryPreAttnScale: 1 / math.Sqrt(8), EmbeddingScale: 1, LayerTypes: []hf.LayerType{hf.FullAttention, hf.FullAttention},
	}
	if change != nil {
		change(c)
	}
	b, err := model.NewBase(c, randomTensors{c})
	if err != nil {
		t.Fatal(err)
	}
	return Join(t, b, spec)
}

// Join returns a model of a base with random trained parameters.
func Join(t testing.TB, b *model.Base, spec model.Spec) *model.Model {
	t.Helper()
	m, err := model.New(b, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for _, p := range m.Params.List() {
		for i := range p.Data {
			p.Data[i] += float32(0.5 * random.NormFloat64())
		}
	}
	return m
}

// Block returns a small block with slots and a memory, changed.
func Block(change func(*model.Spec)) model.Spec {
	s := model.Spec{
		Sink: 2, Window: 5, Segment: 4, Slots: 6, Positions: model.PositionsCompact,
		Memory: model.MemoryLinear, Feature: model.FeatureHedgehog, Gate: model.GateSlot,
	}
	if change != nil {
		change(&s)
	}
	return s
}

// Quantized calibrates a model on random tokens and quantizes it as w8a16.
func Quantized(t testing.TB, m *model.Model) *quant.Quantized {
	t.Helper()
	return QuantizedAs(t, m, Scheme(t, "w8a16", quant.Generic))
}

// Scheme returns a scheme for a target.
func Scheme(t testing.TB, name, target string) quant.Scheme {
	t.Helper()
	s, err := quant.ParseScheme(name)
	if err == nil {
		s, err = s.For(target)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// QuantizedAs is Quantized by another scheme.
func QuantizedAs(t testing.TB, m *model.Model, scheme quant.Scheme) *quant.Quantized {
	t.Helper()
	seen, err := quant.Calibrate(t.Context(), m, func(yield func(data.Encoded, error) bool) {
		yield(data.Encoded{Where: "random", IDs: modeltest.Tokens(m, 400)}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	q, err := quant.Quantize(m, scheme, quant.RangeMinMax, seen)
	if err != nil {
		t.Fatal(err)
	}
	q.Text = nil // random models know no text: graphs are compared over other tokens, too
	return q
}

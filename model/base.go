package model

import (
	"fmt"
	"sync"

	"eisft/model/hf"
)

// Linear is a frozen affine map y = xWᵀ + b of the base model.
type Linear struct {
	Name    string
	In, Out int
	Bias    []float32 // [Out], or nil

	tensor hf.Tensor
	once   sync.Once
	matrix []float32
}

// NewLinear returns a map with the given float32 weights [out,in].
func NewLinear(name string, in, out int, weight, bias []float32) *Linear {
	l := &Linear{Name: name, In: in, Out: out, Bias: bias, matrix: weight}
	l.once.Do(func() {})
	return l
}

// Weight returns W [Out,In] in float32. It is converted from the checkpoint on
// first use, so that opening a model reads nothing.
func (l *Linear) Weight() []float32 {
	l.once.Do(func() {
		w, err := l.tensor.Float32()
		if err != nil { // the dtype was checked when the model was opened
			panic(fmt.Sprintf("model: %s: %v", l.Name, err))
		}
		l.matrix = w
	})
	return l.matrix
}

// rows returns the first n rows of W in float32, without converting the rest.
func (l *Linear) rows(n int) []float32 {
	if l.tensor.Data == nil {
		return l.matrix[:n*l.In]
	}
	t := l.tensor
	t.Data, t.Shape = t.Data[:len(t.Data)/l.Out*n], []int{n, l.In}
	w, err := t.Float32()
	if err != nil { // the dtype was checked when the model was opened
		panic(fmt.Sprintf("model: %s: %v", l.Name, err))
	}
	return w
}

// Norm is a frozen root-mean-square norm, applied to groups of len(Weight).
type Norm struct {
	Name   string
	Weight []float32
	Eps    float32
}

// Layer is one decoder layer of the frozen base.
type Layer struct {
	Index             int
	InputNorm         *Norm
	Q, K, V, O        *Linear
	QNorm, KNorm      *Norm // over each head; nil where the family has none
	PostAttentionNorm *Norm
	Gate, Up, Down    *Linear
	Activation        Activation
}

// Linears lists the layer's frozen maps in a fixed order.
func (l *Layer) Linears() []*Linear { return []*Linear{l.Q, l.K, l.V, l.O, l.Gate, l.Up, l.Down} }

// Norms lists the layer's norms in a fixed order; those it lacks are nil.
func (l *Layer) Norms() []*Norm {
	return []*Norm{l.InputNorm, l.QNorm, l.KNorm, l.PostAttentionNorm}
}

// Activation is the nonlinearity of a gated feed-forward layer.
type Activation string

// The activations of the supported families, by their Hugging Face names.
const (
	SiLU     Activation = "silu"
	GELUTanh Activation = "gelu_pytorch_tanh"
)

// Base is a frozen Hugging Face model.
type Base struct {
	Config *hf.Config
	Dims   Dims
	Embed  *Linear // the embedding table, [vocabulary, D]
	Layers []*Layer
	Norm   *Norm
	Head   *Linear // logits; shares Embed's table when tied
	// InvFreq [d/2] and RotaryScale are the rotary embedding's frequencies and
	// the factor of its cosines and sines.
	InvFreq     []float32
	RotaryScale float32
}

// LoadBase opens the model in a Hugging Face folder (config.json and
// safetensors). The checkpoint stays mapped while the process lives.
func LoadBase(dir string) (*Base, error) {
	c, err := hf.LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	ck, err := hf.Open(dir)
	if err != nil {
		return nil, err
	}
	b, err := NewBase(c, ck)
	if err != nil {
		_ = ck.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return b, nil
}

// Tensors gives a model's weights by their checkpoint names.
type Tensors interface {
	Has(name string) bool
	Tensor(name string) (hf.Tensor, error)
}

// NewBase builds a base from a configuration and its weights. Nothing but
// norms and biases is read yet.
func NewBase(c *hf.Config, t Tensors) (*Base, error) {
	inv, scale, err := c.Rope.InvFreq(c.HeadDim)
	if err != nil {
		return nil, err
	}
	d := Dims{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim, Hidden: c.HiddenSize}
	b := &Base{Config: c, Dims: d, InvFreq: inv, RotaryScale: scale}
	w := &weights{tensors: t}
	b.Embed = w.linear("model.embed_tokens", c.VocabSize, d.Hidden)
	for i := range c.NumHiddenLayers {
		b.Layers = append(b.Layers, loadLayer(w, c, d, i))
	}
	b.Norm = w.norm("model.norm", d.Hidden, c.RMSNormEps)
	b.Head = b.Embed
	if !c.TieWordEmbeddings {
		b.Head = w.linear("lm_head", c.VocabSize, d.Hidden)
	}
	return b, w.err
}

func loadLayer(w *weights, c *hf.Config, d Dims, i int) *Layer {
	p := fmt.Sprintf("model.layers.%d.", i)
	q, kv := d.Heads*d.HeadDim, d.KVHeads*d.HeadDim
	return &Layer{
		Index:             i,
		InputNorm:         w.norm(p+"input_layernorm", d.Hidden, c.RMSNormEps),
		Q:                 w.linear(p+"self_attn.q_proj", q, d.Hidden),
		K:                 w.linear(p+"self_attn.k_proj", kv, d.Hidden),
		V:                 w.linear(p+"self_attn.v_proj", kv, d.Hidden),
		O:                 w.linear(p+"self_attn.o_proj", d.Hidden, q),
		QNorm:             w.optionalNorm(p+"self_attn.q_norm", d.HeadDim, c.RMSNormEps),
		KNorm:             w.optionalNorm(p+"self_attn.k_norm", d.HeadDim, c.RMSNormEps),
		PostAttentionNorm: w.norm(p+"post_attention_layernorm", d.Hidden, c.RMSNormEps),
		Gate:              w.linear(p+"mlp.gate_proj", c.IntermediateSize, d.Hidden),
		Up:                w.linear(p+"mlp.up_proj", c.IntermediateSize, d.Hidden),
		Down:              w.linear(p+"mlp.down_proj", d.Hidden, c.IntermediateSize),
		Activation:        Activation(c.HiddenAct),
	}
}

// weights reads tensors and keeps the first error.
type weights struct {
	tensors Tensors
	err     error
}

func (w *weights) tensor(name string, shape ...int) hf.Tensor {
	if w.err != nil {
		return hf.Tensor{}
	}
	t, err := w.tensors.Tensor(name)
	if err == nil && fmt.Sprint(t.Shape) != fmt.Sprint(shape) {
		err = fmt.Errorf("tensor %s has shape %v, but config.json makes it %v", name, t.Shape, shape)
	}
	if err == nil && !t.DType.IsFloat() {
		err = fmt.Errorf("tensor %s is %s; weights must be F32, F16 or BF16", name, t.DType)
	}
	w.err = err
	return t
}

func (w *weights) vector(name string, n int) []float32 {
	t := w.tensor(name, n)
	if w.err != nil {
		return nil
	}
	v, err := t.Float32()
	w.err = err
	return v
}

func (w *weights) linear(name string, out, in int) *Linear {
	l := &Linear{Name: name, In: in, Out: out, tensor: w.tensor(name+".weight", out, in)}
	if w.err == nil && w.tensors.Has(name+".bias") {
		l.Bias = w.vector(name+".bias", out)
	}
	return l
}

func (w *weights) norm(name string, n int, eps float32) *Norm {
	return &Norm{Name: name, Weight: w.vector(name+".weight", n), Eps: eps}
}

func (w *weights) optionalNorm(name string, n int, eps float32) *Norm {
	if !w.tensors.Has(name + ".weight") {
		return nil
	}
	return w.norm(name, n, eps)
}

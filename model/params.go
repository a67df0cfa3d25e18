package model

import (
	"fmt"
	"slices"
	"strings"

	"eisft/model/hf"
)

// Dims are the sizes of an attention layer: H query heads, K KV heads, head
// size d, model size D.
type Dims struct {
	Heads, KVHeads, HeadDim, Hidden int
}

// Group is a kind of trained parameter. Groups have learning rates of their
// own: with a common one the gates do not move (docs/method.md, section 5).
type Group string

// The groups of trained parameters.
const (
	GroupRetention Group = "retention"
	GroupGate      Group = "gate"
	GroupFeature   Group = "feature"
	GroupMap       Group = "map"
	GroupWrite     Group = "write"
)

// Groups lists all groups, in the order in which they are reported.
var Groups = []Group{GroupRetention, GroupGate, GroupFeature, GroupMap, GroupWrite}

// Param is one trained float32 tensor.
type Param struct {
	Name  string
	Group Group
	Shape []int
	Data  []float32
}

// LayerParams are the trained parameters of one layer; those that the Spec has
// no use for are nil.
type LayerParams struct {
	FeatureQ *Param   // A for queries [H,d,f]
	FeatureK *Param   // A for keys [K,d,f]
	Gate     []*Param // of the gate, b first: [H], or [H,d] for the vector gate
	ReadMap  *Param   // B [H,d,d]

	RetentionHidden     *Param // V [N,D] of an MLP
	RetentionHiddenBias *Param // e [N]
	RetentionWeight     *Param // w_g [K,D], of an MLP [K,N]
	RetentionBias       *Param // c_g [K]
	WriteWeight         *Param // wg_g [K,D]
	WriteBias           *Param // bg_g [K]
}

// Params is what eisft trains: one module for each layer, in layer order.
type Params struct {
	Spec   Spec
	Dims   Dims
	Layers []LayerParams
}

// Alone returns the parameters of one layer for a base that has no other, see [Spec.Alone].
func (p *Params) Alone(layer int) *Params {
	return &Params{Spec: p.Spec.Alone(layer), Dims: p.Dims, Layers: p.Layers[layer : layer+1]}
}

// initialWrite is where the write gate's bias starts: ω = σ(2) = 0.88 (docs/method.md, section 4).
const initialWrite = 2

// NewParams returns the untrained parameters of a block for a base with the
// given number of layers.
func NewParams(s Spec, d Dims, layers int) *Params {
	p := newLayout(s, d, layers)
	for i := range p.Layers {
		p.Layers[i].scatter(i)
	}
	return p
}

// newLayout is NewParams without what is drawn.
func newLayout(s Spec, d Dims, layers int) *Params {
	p := &Params{Spec: s, Dims: d, Layers: make([]LayerParams, layers)}
	for i := range p.Layers {
		p.Layers[i] = newLayerParams(s.At(i), d, i)
	}
	return p
}

func newLayerParams(s Spec, d Dims, layer int) LayerParams {
	param := func(name string, g Group, fill float32, shape ...int) *Param {
		p := &Param{Name: fmt.Sprintf("layers.%d.%s", layer, name), Group: g, Shape: shape, Data: make([]float32, product(shape))}
		for i := range p.Data {
			p.Data[i] = fill
		}
		return p
	}
	var l LayerParams
	if s.Slots > 0 {
		inputs := d.Hidden
		if s.Retention.Form == RetentionMLP {
			inputs = s.Retention.Hidden
			l.RetentionHidden = param("retention.hidden.weight", GroupRetention, 0, inputs, d.Hidden)
			l.RetentionHiddenBias = param("retention.hidden.bias", GroupRetention, 0, inputs)
		}
		l.RetentionWeight = param("retention.weight", GroupRetention, 0, d.KVHeads, inputs)
		l.RetentionBias = param("retention.bias", GroupRetention, s.Retention.initialBias(), d.KVHeads)
	}
	if !s.HasMemory() {
		return l
	}
	if features.Get(s.Feature).learned {
		f := s.featureCols(d.HeadDim)
		l.FeatureQ = param("memory.feature_q", GroupFeature, 0, d.Heads, d.HeadDim, f)
		l.FeatureK = param("memory.feature_k", GroupFeature, 0, d.KVHeads, d.HeadDim, f)
		setIdentity(l.FeatureQ)
		setIdentity(l.FeatureK)
	}
	for _, p := range gates.Get(s.Gate).params {
		l.Gate = append(l.Gate, param("gate."+p.name, GroupGate, p.initial, p.shape(d)...))
	}
	if s.Map {
		l.ReadMap = param("memory.map", GroupMap, 0, d.Heads, d.HeadDim, d.HeadDim)
	}
	if s.WriteGate {
		l.WriteWeight = param("write.weight", GroupWrite, 0, d.KVHeads, d.Hidden)
		l.WriteBias = param("write.bias", GroupWrite, initialWrite, d.KVHeads)
	}
	return l
}

// product returns how many values a tensor of some shape has.
func product(shape []int) int {
	n := 1
	for _, v := range shape {
		n *= v
	}
	return n
}

// setIdentity makes every [d,f] matrix of p an identity (cut or padded).
func setIdentity(p *Param) {
	n, d, f := p.Shape[0], p.Shape[1], p.Shape[2]
	for h := range n {
		for i := range min(d, f) {
			p.Data[(h*d+i)*f+i] = 1
		}
	}
}

// List returns the layer's parameters in a fixed order.
func (l *LayerParams) List() []*Param {
	all := append([]*Param{l.RetentionHidden, l.RetentionHiddenBias, l.RetentionWeight, l.RetentionBias, l.FeatureQ, l.FeatureK}, l.Gate...)
	all = append(all, l.ReadMap, l.WriteWeight, l.WriteBias)
	return slices.DeleteFunc(all, func(p *Param) bool { return p == nil })
}

// List returns all parameters, layer by layer, in a fixed order.
func (p *Params) List() []*Param {
	var out []*Param
	for i := range p.Layers {
		out = append(out, p.Layers[i].List()...)
	}
	return out
}

// Count returns the number of trained scalars.
func (p *Params) Count() int {
	n := 0
	for _, q := range p.List() {
		n += len(q.Data)
	}
	return n
}

// Zero returns parameters of the same layout, all zero: room for gradients.
func (p *Params) Zero() *Params {
	z := newLayout(p.Spec, p.Dims, len(p.Layers))
	for _, q := range z.List() {
		clear(q.Data)
	}
	return z
}

// Entries returns the parameters as safetensors entries, each name with the
// given prefix.
func (p *Params) Entries(prefix string) []hf.Entry {
	var out []hf.Entry
	for _, q := range p.List() {
		out = append(out, hf.Entry{Name: prefix + q.Name, Shape: q.Shape, Data: q.Data})
	}
	return out
}

// ReadFrom fills p from a safetensors file whose names carry the given prefix.
// Every parameter must be there with its shape, and no other under the prefix.
func (p *Params) ReadFrom(f *hf.File, prefix string) error {
	known := map[string]bool{}
	for _, q := range p.List() {
		known[prefix+q.Name] = true
		t, err := f.Tensor(prefix + q.Name)
		if err != nil {
			return err
		}
		if fmt.Sprint(t.Shape) != fmt.Sprint(q.Shape) {
			return fmt.Errorf("tensor %s has shape %v, but this base and block need %v; the adapter was trained for another base or block", t.Name, t.Shape, q.Shape)
		}
		v, err := t.Float32()
		if err != nil {
			return err
		}
		copy(q.Data, v)
	}
	for _, n := range f.Names() {
		if strings.HasPrefix(n, prefix) && !known[n] {
			return fmt.Errorf("tensor %s is not a parameter of this block; the adapter was trained with other block switches", n)
		}
	}
	return nil
}

// DataOf returns the values of parameters.
func DataOf(list []*Param) [][]float32 {
	out := make([][]float32, len(list))
	for i, p := range list {
		out[i] = p.Data
	}
	return out
}

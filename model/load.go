package model

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"eisft/model/hf"
)

// LoadBase opens the model in a Hugging Face folder (config.json and
// safetensors) or a GGUF file, and holds its weights as DTypeAuto says. The
// checkpoint stays mapped while the process lives.
func LoadBase(path string) (*Base, error) {
	c, err := hf.LoadConfig(path)
	if err != nil {
		return nil, err
	}
	ck, err := hf.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := NewBase(c, ck)
	if err != nil {
		_ = ck.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	b.Hold(DTypeAuto)
	return b, nil
}

// Tensors gives a model's weights by their checkpoint names.
type Tensors interface {
	Names() []string
	Tensor(name string) (hf.Tensor, error)
}

// NewBase builds a base from a configuration and its weights. Nothing but
// norms and biases is read yet. Every weight that the configuration implies
// must be there with its shape, and no other. Without weights (nil) it is a base of
// sizes alone, which can be counted (package shapes) and not run.
func NewBase(c *hf.Config, t Tensors) (*Base, error) {
	if !(c.QueryPreAttnScale > 0) {
		return nil, fmt.Errorf("QueryPreAttnScale is %g; it must be above 0: what q·k is multiplied by, 1/√d in most families", c.QueryPreAttnScale)
	}
	full, err := newRotary(c.Rope, c.HeadDim)
	if err != nil {
		return nil, err
	}
	local := full
	if c.SlidingWindow > 0 {
		if local, err = newRotary(c.RopeLocal, c.HeadDim); err != nil {
			return nil, err
		}
	}
	if c.Multimodal && t != nil {
		t = newTextPart(t)
	}
	d := Dims{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim, Hidden: c.HiddenSize}
	b := &Base{Config: c, Dims: d, EmbeddingScale: float32(c.EmbeddingScale), copies: &weightCopies{}}
	w := &weights{tensors: t, config: c, copies: b.copies, read: map[string]bool{}}
	b.Embed = w.linear("model.embed_tokens", c.VocabSize, c.HiddenSize, false)
	for i := range c.NumHiddenLayers {
		l := w.layer(i)
		l.Rotary = full
		if c.SlidingWindow > 0 && c.LayerTypes[i] == hf.SlidingAttention {
			l.Rotary, l.SlidingWindow = local, c.SlidingWindow
		}
		b.Layers = append(b.Layers, l)
	}
	b.Norm = w.norm("model.norm", c.HiddenSize)
	b.Head = b.Embed
	if !c.TieWordEmbeddings {
		b.Head = w.linear("lm_head", c.VocabSize, c.HiddenSize, false)
	}
	w.refuseStrays()
	b.CopyWeights(math.MaxInt64)
	return b, w.err
}

// textPart gives the text model's weights of a multimodal checkpoint by the names that
// they have alone.
type textPart struct {
	Tensors
	names map[string]string // in the checkpoint
}

// newTextPart finds the text model's weights. Some checkpoints hold nothing else, GGUF
// files for example: they are left as they are.
func newTextPart(t Tensors) Tensors {
	p, all := textPart{t, map[string]string{}}, t.Names()
	for _, name := range all {
		if alone, ok := strings.CutPrefix(name, "model.language_model."); ok { // transformers from 4.52 on
			p.names["model."+alone] = name
		} else if alone, ok := strings.CutPrefix(name, "language_model."); ok {
			p.names[alone] = name
		}
	}
	if len(p.names) == 0 {
		return t
	}
	if head := "lm_head.weight"; slices.Contains(all, head) { // under either name of the rest
		p.names[head] = head
	}
	return p
}

// Names lists the text model's tensors.
func (p textPart) Names() []string { return slices.Sorted(maps.Keys(p.names)) }

// Tensor returns a tensor by its name in a checkpoint of the text model.
func (p textPart) Tensor(name string) (hf.Tensor, error) {
	if there, ok := p.names[name]; ok {
		return p.Tensors.Tensor(there)
	}
	return p.Tensors.Tensor("language_model." + name) // which says that it is not there
}

// FileOf returns the file that holds a tensor, "" if it is not known.
func (p textPart) FileOf(name string) string {
	if t, ok := p.Tensors.(interface{ FileOf(name string) string }); ok {
		return t.FileOf(p.names[name])
	}
	return ""
}

// weights reads tensors by name as a configuration describes them, and keeps
// the first error.
type weights struct {
	tensors Tensors
	config  *hf.Config
	copies  *weightCopies
	read    map[string]bool
	err     error
}

// layer reads decoder layer i.
func (w *weights) layer(i int) *Layer {
	c, p := w.config, fmt.Sprintf("model.layers.%d.", i)
	l := &Layer{Index: i, AttentionScale: float32(c.QueryPreAttnScale), Activation: Activation(c.HiddenAct)}
	l.InputNorm = w.norm(p+"input_layernorm", c.HiddenSize)
	w.maps(l, p)
	if c.QKNorm {
		l.QNorm, l.KNorm = w.norm(p+"self_attn.q_norm", c.HeadDim), w.norm(p+"self_attn.k_norm", c.HeadDim)
	}
	if !c.PostNorms {
		l.PostAttentionNorm = w.norm(p+"post_attention_layernorm", c.HiddenSize)
		return l
	}
	l.AttentionOutputNorm = w.norm(p+"post_attention_layernorm", c.HiddenSize)
	l.PostAttentionNorm = w.norm(p+"pre_feedforward_layernorm", c.HiddenSize)
	l.FeedForwardOutputNorm = w.norm(p+"post_feedforward_layernorm", c.HiddenSize)
	return l
}

// maps reads the layer's frozen maps; p is the beginning of their names.
func (w *weights) maps(l *Layer, p string) {
	stacks := map[Role][]*Linear{}
	for _, r := range mapRoles {
		out, in, biased := r.shape(w.config)
		if !w.config.FusedProjections || r.reads == r.role && r.stacked == "" {
			*r.of(l) = w.linear(p+string(r.role), out, in, biased)
			continue
		}
		m := &Linear{Name: p + string(r.role), In: in, Out: out}
		*r.of(l) = m
		stacks[r.reads] = append(stacks[r.reads], m)
	}
	for _, r := range mapRoles {
		if stack := stacks[r.role]; stack != nil {
			w.stacked(p+r.stacked, stack)
		}
	}
}

// stacked makes the parts maps of the rows of one matrix, in order, without copying it.
func (w *weights) stacked(name string, parts []*Linear) {
	out := 0
	for _, l := range parts {
		out += l.Out
	}
	t, at := w.tensor(name+".weight", out, parts[0].In), 0
	for _, l := range parts {
		l.copies = w.copies
		if w.err == nil {
			l.tensor = t.Rows(at, at+l.Out)
		}
		at += l.Out
	}
}

func (w *weights) linear(name string, out, in int, biased bool) *Linear {
	l := &Linear{Name: name, In: in, Out: out, tensor: w.tensor(name+".weight", out, in), copies: w.copies}
	if t, ok := w.tensors.(interface{ FileOf(name string) string }); ok {
		l.file = t.FileOf(name + ".weight")
	}
	if biased {
		l.Bias = w.vector(name+".bias", out)
	}
	return l
}

func (w *weights) norm(name string, n int) *Norm {
	v := w.vector(name+".weight", n)
	if w.config.NormAddsOne {
		for i := range v {
			v[i]++
		}
	}
	return &Norm{Name: name, Weight: v, Eps: w.config.RMSNormEps}
}

// vector reads n numbers.
func (w *weights) vector(name string, n int) []float32 {
	t := w.tensor(name, n)
	if w.err != nil {
		return nil
	}
	if w.tensors == nil {
		return make([]float32, n)
	}
	v, err := t.Float32()
	for i := 0; err == nil && i < len(v); i++ {
		if v[i]-v[i] != 0 {
			err = fmt.Errorf("tensor %s holds %g at index %d; the checkpoint is damaged: download it again", name, v[i], i)
		}
	}
	w.err = err
	return v
}

func (w *weights) tensor(name string, shape ...int) hf.Tensor {
	if w.err != nil {
		return hf.Tensor{}
	}
	if w.tensors == nil {
		return hf.Tensor{Name: name, DType: w.config.StoredAs(), Shape: shape}
	}
	w.read[name] = true
	t, err := w.tensors.Tensor(name)
	if err == nil && !slices.Equal(t.Shape, shape) {
		err = fmt.Errorf("tensor %s has shape %v, but config.json makes it %v; they belong to different models", name, t.Shape, shape)
	}
	if err == nil && !t.DType.IsFloat() {
		err = fmt.Errorf("tensor %s is %s; weights must be F32, F16 or BF16", name, t.DType)
	}
	w.err = err
	return t
}

// refuseStrays reports a tensor of the decoder that was not asked for: what it
// does in the model is not known, so the model would be computed wrongly.
func (w *weights) refuseStrays() {
	if w.tensors == nil {
		return
	}
	for _, name := range w.tensors.Names() {
		if w.err != nil || w.read[name] || !strings.HasPrefix(name, "model.") || strings.HasSuffix(name, ".rotary_emb.inv_freq") {
			continue
		}
		w.err = fmt.Errorf("tensor %s has no place in a %s with the values of config.json; they belong to different models, or the model is a variant that is not supported", name, w.config.Architecture)
	}
}

package model

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"eisft/model/hf"
)

// LoadBase opens the model in a Hugging Face folder (config.json and
// safetensors) or a GGUF file, and holds its weights as DTypeAuto says. The
// checkpoint stays mapped while the process lives. Keys of the configuration to ignore are
// those of [hf.LoadConfig].
func LoadBase(path string, ignore ...string) (*Base, error) {
	c, err := hf.LoadConfig(path, ignore...)
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
	b.identity.files = ck.Files()
	b.Warnings = slices.Concat(ck.Warnings(), b.Warnings)
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
	if err := checkNorms(c); err != nil {
		return nil, err
	}
	if !(c.QueryPreAttnScale > 0) {
		return nil, fmt.Errorf("QueryPreAttnScale is %g; it must be above 0: what q·k is multiplied by, 1/√d in most families", c.QueryPreAttnScale)
	}
	full, err := newRotary(c.Rope, c.HeadDim)
	if err != nil {
		return nil, err
	}
	local, unturned := full, &Rotary{Scale: 1}
	if c.SlidingWindow > 0 {
		if local, err = newRotary(c.RopeLocal, c.HeadDim); err != nil {
			return nil, err
		}
	}
	for _, r := range []*Rotary{full, local, unturned} {
		if from := c.ScaledQueriesFrom; from > 0 && (r.Limit == 0 || r.Limit > from) {
			r.Limit = from
		}
	}
	d := Dims{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim, Hidden: c.HiddenSize}
	b := &Base{
		Config: c, Dims: d, EmbeddingScale: float32(c.EmbeddingScale), LogitScale: float32(c.LogitScale),
		LogitSoftcap: float32(c.FinalLogitSoftcap), copies: &weightCopies{}, identity: &identity{},
	}
	w := &weights{tensors: t, config: c, copies: b.copies, read: map[string]bool{}}
	if t != nil {
		w.names = t.Names()
	}
	b.Embed = w.linear("model.embed_tokens", c.VocabSize, c.HiddenSize, false, nil)
	if c.EmbeddingNorm {
		b.EmbeddingNorm = w.normOf("model.embed_layer_norm", c.HiddenSize, true)
	}
	for i := range c.NumHiddenLayers {
		l := w.layer(i)
		l.Rotary = full
		if c.SlidingWindow > 0 && c.LayerTypes[i] == hf.SlidingAttention {
			l.Rotary, l.SlidingWindow = local, c.SlidingWindow
		}
		if c.NoRope != nil && c.NoRope[i] {
			l.Rotary = unturned
		}
		b.Layers = append(b.Layers, l)
	}
	b.Norm = w.norm("model.norm", c.HiddenSize)
	w.head(b)
	w.refuseStrays()
	b.CopyWeights(math.MaxInt64)
	b.Warnings = w.warnings
	return b, w.err
}

// checkNorms refuses norms after rotary embedding where turning changes what they divide by.
func checkNorms(c *hf.Config) error {
	if !c.QKNormAfterRotary {
		return nil
	}
	if c.QKNormWhole {
		return errors.New("norms after rotary embedding are over each head, not over all of them")
	}
	for _, r := range []hf.Rope{c.Rope, c.RopeLocal} {
		if _, scale, err := r.InvFreq(c.HeadDim); err == nil && scale != 1 { // other errors are told by newRotary
			return fmt.Errorf("rotary embedding %s multiplies queries and keys by %g, but q and k are normed after it, which is supported for a factor of 1 only", r.Type, scale)
		}
	}
	return nil
}

// weights reads tensors by name as a configuration describes them, and keeps
// the first error.
type weights struct {
	tensors Tensors
	config  *hf.Config
	copies  *weightCopies
	read    map[string]bool
	names   []string // of all tensors

	warnings []string
	err      error
}

// layer reads decoder layer i.
func (w *weights) layer(i int) *Layer {
	c, p := w.config, fmt.Sprintf("model.layers.%d.", i)
	l := &Layer{
		Index: i, AttentionScale: float32(c.QueryPreAttnScale), AttentionSoftcap: float32(c.AttentionSoftcap),
		ResidualScale: float32(c.ResidualScale), Activation: Activation(c.HiddenAct),
	}
	if !c.NoInputNorms {
		l.InputNorm = w.norm(p+"input_layernorm", c.HiddenSize)
	}
	w.maps(l, p)
	if c.QKNorm {
		q, k := c.HeadDim, c.HeadDim
		if c.QKNormWhole {
			q, k = q*c.NumAttentionHeads, k*c.NumKeyValueHeads
		}
		l.QNorm, l.KNorm = w.normOf(p+"self_attn.q_norm", q, false), w.normOf(p+"self_attn.k_norm", k, false)
	}
	if c.QKNormAfterRotary {
		l.QueryWeight = slices.Repeat([]float32{1}, c.HeadDim)
		for _, n := range []*Norm{l.QNorm, l.KNorm} {
			for i, v := range n.Weight {
				l.QueryWeight[i] *= v
				n.Weight[i] = 1
			}
		}
	}
	if !c.PostNorms {
		l.PostAttentionNorm = w.norm(p+"post_attention_layernorm", c.HiddenSize)
		return l
	}
	l.AttentionOutputNorm = w.norm(p+"post_attention_layernorm", c.HiddenSize)
	if !c.NoInputNorms {
		l.PostAttentionNorm = w.norm(p+"pre_feedforward_layernorm", c.HiddenSize)
	}
	l.FeedForwardOutputNorm = w.norm(p+"post_feedforward_layernorm", c.HiddenSize)
	return l
}

// maps reads the layer's frozen maps; p is the beginning of their names.
func (w *weights) maps(l *Layer, p string) {
	stacks := map[Role][]*Linear{}
	for _, r := range mapRoles {
		out, in, biased := r.shape(w.config)
		if !w.stacks(r) {
			*r.of(l) = w.linear(p+string(r.role), out, in, biased, w.unpaired(r.role, out))
			continue
		}
		m := &Linear{Name: p + string(r.role), In: in, Out: out}
		*r.of(l) = m
		stacks[r.reads] = append(stacks[r.reads], m)
	}
	for _, r := range mapRoles {
		if stack := stacks[r.role]; stack != nil {
			_, _, biased := r.shape(w.config)
			w.stacked(p+r.stacked, stack, biased, w.ungrouped(r.role))
		}
	}
}

// stacks says whether the map of a role is stored as rows of one with others.
func (w *weights) stacks(r mapRole) bool {
	if r.reads == r.role && r.stacked == "" {
		return false
	}
	return w.config.FusedProjections || w.config.GroupedQKV && r.reads == RoleQuery
}

// unpaired is the order in which rows are taken from the checkpoint where rotary embedding
// turns neighbours there; nil: as they are.
func (w *weights) unpaired(r Role, rows int) []int {
	if !w.config.InterleavedRotary || r != RoleQuery && r != RoleKey {
		return nil
	}
	return hf.UnpairedRows(rows, rows/w.config.HeadDim)
}

// ungrouped is the order, of queries, keys and values, in which the rows of a matrix are
// taken that has for each KV head its queries, its key and its value; nil: as they are.
func (w *weights) ungrouped(r Role) []int {
	c := w.config
	if !c.GroupedQKV || r != RoleQuery {
		return nil
	}
	group := c.NumAttentionHeads / c.NumKeyValueHeads
	var order []int
	for _, heads := range [][2]int{{0, group}, {group, group + 1}, {group + 1, group + 2}} {
		for g := range c.NumKeyValueHeads {
			for h := heads[0]; h < heads[1]; h++ {
				first := (g*(group+2) + h) * c.HeadDim
				order = append(order, positions(first, first+c.HeadDim)...)
			}
		}
	}
	return order
}

// stacked makes the parts maps of the rows of one matrix, in the given order, and without
// copying it where it is in order (nil).
func (w *weights) stacked(name string, parts []*Linear, biased bool, order []int) {
	out := 0
	for _, l := range parts {
		out += l.Out
	}
	all, at := w.linear(name, out, parts[0].In, biased, order), 0
	for _, l := range parts {
		l.copies = w.copies
		if w.err == nil {
			l.tensor = all.tensor.Rows(at, at+l.Out)
			if biased {
				l.Bias = all.Bias[at : at+l.Out]
			}
		}
		at += l.Out
	}
}

// linear reads a map, whose rows are taken in the given order; nil: as they are.
func (w *weights) linear(name string, out, in int, biased bool, order []int) *Linear {
	l := &Linear{Name: name, In: in, Out: out, tensor: w.gathered(name+".weight", order, out, in), copies: w.copies}
	if t, ok := w.tensors.(interface{ FileOf(name string) string }); ok {
		l.file = t.FileOf(w.config.TensorName(name + ".weight"))
	}
	if biased {
		l.Bias = w.floats(w.gathered(name+".bias", order, out))
	}
	return l
}

// gathered is a tensor with its rows in the given order; nil: as they are.
func (w *weights) gathered(name string, order []int, shape ...int) hf.Tensor {
	t := w.tensor(name, shape...)
	if order == nil || w.err != nil || w.tensors == nil {
		return t
	}
	return t.Gather(order)
}

// norm is one of the base's norms, of the kind that its family has.
func (w *weights) norm(name string, n int) *Norm { return w.normOf(name, n, w.config.LayerNorm) }

// normOf is a root-mean-square norm, or a LayerNorm with a bias.
func (w *weights) normOf(name string, n int, layerNorm bool) *Norm {
	norm := &Norm{Name: name, Weight: w.vector(name+".weight", n), Eps: w.config.RMSNormEps, Center: layerNorm}
	if w.config.NormAddsOne {
		for i := range norm.Weight {
			norm.Weight[i]++
		}
	}
	if layerNorm {
		norm.Bias = w.vector(name+".bias", n)
	}
	return norm
}

// vector reads n numbers.
func (w *weights) vector(name string, n int) []float32 { return w.floats(w.tensor(name, n)) }

// floats returns a vector's numbers.
func (w *weights) floats(t hf.Tensor) []float32 {
	if w.err != nil {
		return nil
	}
	if w.tensors == nil {
		return make([]float32, t.Shape[0])
	}
	name := t.Name
	v, err := t.Float32()
	for i := 0; err == nil && i < len(v); i++ {
		if v[i]-v[i] != 0 {
			err = fmt.Errorf("tensor %s holds %g at index %d; the checkpoint is damaged: download it again", name, v[i], i)
		}
	}
	w.err = err
	return v
}

// tensor returns a tensor by the name that a Llama checkpoint has for it.
func (w *weights) tensor(name string, shape ...int) hf.Tensor {
	if w.err != nil {
		return hf.Tensor{}
	}
	name = w.config.TensorName(name)
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

// head reads the map to logits: of its own, or the embedding's table.
func (w *weights) head(b *Base) {
	c := w.config
	b.Head = b.Embed
	name := c.TensorName(headName + ".weight")
	own := slices.Contains(w.names, name)
	switch {
	case c.TieWordEmbeddings && !(own && w.differs(name, b.Embed.tensor)):
		w.read[name] = own
		return
	case c.TieWordEmbeddings:
		w.warnings = append(w.warnings, fmt.Sprintf("the checkpoint has a %s that differs from model.embed_tokens.weight, and is read, as transformers 5 does, though tie_word_embeddings is true in config.json or by default (transformers 4 reads the embedding in its place): write tie_word_embeddings: false into config.json, or remove the tensor", name))
	case w.tensors != nil && w.names != nil && !own && w.err == nil:
		w.err = fmt.Errorf("tensor %s is not in the checkpoint, but tie_word_embeddings is false in config.json or by the default of a %s: write tie_word_embeddings: true into config.json if the model was trained with one table for both, otherwise download the model again", name, c.Architecture)
		return
	}
	b.Head = w.linear(headName, c.VocabSize, c.HiddenSize, false, nil)
}

// headName is the map to logits in a checkpoint.
const headName = "lm_head"

// differs says whether the head's own tensor is another one than the embedding's table.
func (w *weights) differs(name string, embed hf.Tensor) bool {
	if w.err != nil {
		return false
	}
	own, err := w.tensors.Tensor(name)
	w.err = err
	return own.DType != embed.DType || !slices.Equal(own.Shape, embed.Shape) || !bytes.Equal(own.Data, embed.Data)
}

// refuseStrays reports a tensor of the decoder that was not asked for: what it
// does in the model is not known, so the model would be computed wrongly. Of what stands
// beside the decoder it warns.
func (w *weights) refuseStrays() {
	beside, head := map[string]int{}, strings.TrimSuffix(w.config.TensorName(headName+".weight"), ".weight")
	for _, name := range w.names {
		if w.err != nil || w.read[name] || strings.HasSuffix(name, "rotary_emb.inv_freq") {
			continue
		}
		part, known := hf.Beside(name)
		if !known && (strings.HasPrefix(name, "model.") || strings.HasPrefix(name, head+".")) {
			w.err = fmt.Errorf("tensor %s has no place in a %s with the values of config.json; they belong to different models, or the model is a variant that is not supported", name, w.config.Architecture)
		}
		beside[part]++
	}
	if len(beside) == 0 || w.err != nil {
		return
	}
	var parts []string
	for _, part := range slices.Sorted(maps.Keys(beside)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", part, beside[part]))
	}
	w.warnings = append(w.warnings, "tensors beside the text model are not read: "+strings.Join(parts, ", "))
}

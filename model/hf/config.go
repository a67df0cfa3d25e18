// Package hf reads what a Hugging Face model folder consists of: config.json,
// and weights in safetensors files by their checkpoint names. A GGUF file of
// llama.cpp is read as a second source of the same two.
package hf

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"eisft/internal/head"
)

// The files of a model folder that a configuration is read from.
const (
	ConfigFile     = "config.json"
	GenerationFile = "generation_config.json"
)

// LayerType says what a decoder layer attends to.
type LayerType string

// The layer types of the supported families, by their Hugging Face names.
const (
	FullAttention    LayerType = "full_attention"
	SlidingAttention LayerType = "sliding_attention"
)

// Config is a model's configuration: config.json with the defaults of
// transformers filled in, and what its architecture implies. Sizes are in
// numbers, tokens or layers.
type Config struct {
	Architecture string // "LlamaForCausalLM", …
	ModelType    string // "llama", …
	DType        string // what the weights were saved as, "bfloat16"; may be empty

	VocabSize             int
	HiddenSize            int // D, the width of the residual stream
	IntermediateSize      int // of the feed-forward layer
	NumHiddenLayers       int
	NumAttentionHeads     int
	NumKeyValueHeads      int     // a divisor of NumAttentionHeads
	HeadDim               int     // even
	HiddenAct             string  // "silu" or "gelu_pytorch_tanh"
	MaxPositionEmbeddings int     // the length the model was made for
	RMSNormEps            float32 // of all norms

	Rope      Rope // of layers with full attention
	RopeLocal Rope // of layers with sliding attention; only Gemma 3 has another one there

	SlidingWindow int         // tokens that a sliding layer sees, itself included; 0 if no layer slides
	LayerTypes    []LayerType // one per layer

	TieWordEmbeddings   bool // lm_head shares model.embed_tokens
	AttentionBias       bool // q_proj, k_proj and v_proj have biases
	AttentionOutputBias bool // o_proj has a bias
	MLPBias             bool // gate_proj, up_proj and down_proj have biases

	LayerNorm         bool    // norms subtract the mean and have a bias (arXiv 1607.06450); else they are root-mean-square norms
	EmbeddingNorm     bool    // embed_layer_norm, a norm with mean and bias, over the embeddings
	QKNorm            bool    // q_norm and k_norm over each head, before rotary embedding
	QKNormAfterRotary bool    // with QKNorm: after it
	InterleavedRotary bool    // rotary embedding turns neighbours, 2i and 2i+1 of a head, instead of its halves
	QueryPreAttnScale float64 // q·k is multiplied by it: 1/√d in most families
	FusedProjections  bool    // qkv_proj (q, k, v stacked) and gate_up_proj (gate, up stacked)
	GroupedQKV        bool    // qkv_proj alone is stacked: of each KV head its queries, its key and its value
	NormAddsOne       bool    // norms multiply by 1 + weight
	PostNorms         bool    // the outputs of attention and feed-forward are normed before they are added
	EmbeddingScale    float64 // embeddings are multiplied by it: √D in Gemma, else 1

	NoInputNorms      bool    // attention and feed-forward read the residual stream as it is; only with PostNorms
	QKNormWhole       bool    // q_norm and k_norm are over all heads together; only with QKNorm
	NoRope            []bool  // of each layer: keys and queries are not turned (NoPE); nil: all are
	ResidualScale     float64 // what attention and feed-forward put out is multiplied by it; 0: it is not
	LogitScale        float64 // logits are divided by it; 0: they are not
	AttentionSoftcap  float64 // c of c·tanh(x/c) over the logits of attention; 0: they are not capped
	FinalLogitSoftcap float64 // the same over the logits, after LogitScale
	// ScaledQueriesFrom is the position from which on queries have another scale (Llama 4's
	// temperature), which no layer computes; 0: there is none.
	ScaledQueriesFrom int
	// TensorNames are the checkpoint's names of parts that Llama calls otherwise, by
	// Llama's: "lm_head", or below model.layers.N, "self_attn.o_proj".
	TensorNames map[string]string

	BOS int   // -1 if there is none
	EOS []int // all tokens that end a generation
	Pad int   // -1 if there is none

	Keys    []Key    // the file's keys in alphabetical order, and what became of each
	Ignored []string // the keys that LoadConfig was told to ignore
}

// LoadConfig reads the configuration of a model: a folder with config.json (and
// generation_config.json, which may name more tokens that end a generation), a
// folder with one .gguf file, or a .gguf file. A key that is not understood and may change
// what the model computes is an error. Those listed in ignore, as Config.Keys names them, are
// taken to be absent.
func LoadConfig(path string, ignore ...string) (*Config, error) {
	path, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	if isGGUF(path) {
		return loadGGUFConfig(path, ignore)
	}
	file := filepath.Join(path, ConfigFile)
	text, err := head.ReadText(file, head.Description)
	if errors.Is(err, fs.ErrNotExist) {
		if gguf, several := FindGGUF(path); several != nil && exists(path) {
			return nil, several
		} else if gguf != "" {
			return loadGGUFConfig(gguf, ignore)
		}
		if found := Describe(path); found != "" {
			return nil, noModel(path, "a folder with "+ConfigFile+" or one .gguf file")
		}
		return nil, fmt.Errorf("load config: %w; want a folder with config.json or one .gguf file", err)
	}
	if err != nil {
		return nil, fmt.Errorf("load config: %w", err)
	}
	o, err := parseObject(file, text)
	if err != nil {
		return nil, err
	}
	if o, err = o.without(ignore); err != nil {
		return nil, err
	}
	c, err := newConfig(o)
	if err != nil {
		return nil, err
	}
	c.Ignored = ignore
	if err := c.addGeneration(filepath.Join(path, GenerationFile)); err != nil {
		return nil, err
	}
	return c, nil
}

// StoredAs returns the type that the weights are stored as, F32 where the configuration
// does not say.
func (c *Config) StoredAs() DType {
	switch c.DType {
	case "bfloat16":
		return DTypeBF16
	case "float16":
		return DTypeF16
	default:
		return DTypeF32
	}
}

// TensorName returns what the checkpoint calls a tensor that has the given name in a
// Llama checkpoint: "model.layers.0.mlp.gate_proj.weight".
func (c *Config) TensorName(name string) string {
	dot := strings.LastIndexByte(name, '.')
	part, kind := name[:dot], name[dot:]
	prefix := ""
	if rest, inLayer := strings.CutPrefix(part, "model.layers."); inLayer {
		index, below, _ := strings.Cut(rest, ".")
		prefix, part = "model.layers."+index+".", below
	}
	return prefix + orElse(c.TensorNames[part], part) + kind
}

// newConfig interprets a configuration's values.
func newConfig(o object) (*Config, error) {
	arch, fam, err := familyOf(o)
	if err != nil {
		return nil, err
	}
	refuseQuantized(o)
	whole := o
	o = fam.textOf(o)
	fam = fam.textOr(o)
	o = o.withDefaults(fam.defaults)
	c := &Config{Architecture: arch, ModelType: o.text("model_type", fam.modelType)}
	refuseQuantized(o)
	c.readSizes(o)
	if *o.err != nil { // what follows computes with the sizes
		return nil, *o.err
	}
	c.readTokens(o)
	c.DType = o.text("dtype", o.text("torch_dtype", ""))
	c.HiddenAct = c.activation(o, fam)
	c.RMSNormEps = float32(o.number("rms_norm_eps", 0, 1e-6))
	c.TieWordEmbeddings = o.boolean("tie_word_embeddings", false)
	c.QueryPreAttnScale = 1 / math.Sqrt(float64(c.HeadDim))
	c.EmbeddingScale = 1
	c.readLayerTypes(o, fam)
	c.Rope, c.RopeLocal = readRopes(o, c)
	if fam.apply != nil {
		fam.apply(c, o)
	}
	c.checkKeys(whole, fam.ignored)
	if *o.err != nil {
		return nil, *o.err
	}
	return c, nil
}

// maxLayers bounds the lists that have an entry per layer.
const maxLayers = 1 << 14

func (c *Config) readSizes(o object) {
	c.VocabSize = o.size("vocab_size")
	c.HiddenSize = o.size("hidden_size")
	c.IntermediateSize = o.size("intermediate_size")
	c.MaxPositionEmbeddings = o.size("max_position_embeddings")
	c.NumAttentionHeads = o.size("num_attention_heads")
	c.NumHiddenLayers = o.size("num_hidden_layers")
	if *o.err != nil {
		return
	}
	if c.NumHiddenLayers > maxLayers {
		o.fail("num_hidden_layers", c.NumHiddenLayers, fmt.Sprintf("at most %d", maxLayers))
	}
	c.NumKeyValueHeads = o.integer("num_key_value_heads", 1, maxSize, c.NumAttentionHeads)
	if c.NumAttentionHeads%max(c.NumKeyValueHeads, 1) != 0 {
		o.fail("num_key_value_heads", c.NumKeyValueHeads, fmt.Sprintf("a divisor of num_attention_heads, which is %d", c.NumAttentionHeads))
	}
	if !o.has("head_dim") && c.HiddenSize%c.NumAttentionHeads != 0 {
		o.fail("hidden_size", c.HiddenSize, fmt.Sprintf("a multiple of num_attention_heads, which is %d, or a head_dim beside it", c.NumAttentionHeads))
	}
	c.HeadDim = o.integer("head_dim", 1, maxSize, c.HiddenSize/c.NumAttentionHeads)
	if c.HeadDim%2 != 0 {
		o.fail("head_dim", c.HeadDim, "an even number: rotary embedding turns pairs")
	}
}

func (c *Config) readTokens(o object) {
	c.BOS = o.integer("bos_token_id", 0, c.VocabSize-1, -1)
	// Many fine-tuned models name a padding token outside of the vocabulary, or -1.
	c.Pad = o.integer("pad_token_id", -1, maxSize, -1)
	c.EOS = o.tokens("eos_token_id", c.VocabSize)
}

func (c *Config) activation(o object, fam family) string {
	key := "hidden_act"
	if o.has("hidden_activation") { // Gemma's name for it
		key = "hidden_activation"
	}
	const tanh = "gelu_pytorch_tanh"
	switch act := o.text(key, "silu"); {
	case act == "silu" || act == tanh:
		return act
	case act == "gelu" && fam.tanhGELU:
		return tanh
	default:
		o.fail(key, act, "silu or gelu_pytorch_tanh")
		return ""
	}
}

// readLayerTypes takes the layer types from the file, or else from the rule of the family.
func (c *Config) readLayerTypes(o object, fam family) {
	c.LayerTypes = make([]LayerType, c.NumHiddenLayers)
	window := 0
	if fam.slides != nil && o.boolean("use_sliding_window", true) {
		window = o.integer("sliding_window", 1, maxSize, 0)
	}
	names := o.texts("layer_types")
	if names != nil && len(names) != c.NumHiddenLayers {
		o.fail("layer_types", len(names), fmt.Sprintf("as many entries as num_hidden_layers, which is %d", c.NumHiddenLayers))
		return
	}
	for i := range c.LayerTypes {
		c.LayerTypes[i] = FullAttention
		switch {
		case names != nil:
			c.LayerTypes[i] = LayerType(names[i])
		case window > 0 && fam.slides(o, i):
			c.LayerTypes[i] = SlidingAttention
		}
		if t := c.LayerTypes[i]; t != FullAttention && t != SlidingAttention {
			o.fail(fmt.Sprintf("layer_types[%d]", i), t, "full_attention or sliding_attention")
		}
	}
	if !slices.Contains(c.LayerTypes, SlidingAttention) {
		return
	}
	if c.SlidingWindow = window; window == 0 {
		o.fail("sliding_window", o.values["sliding_window"], "a window in use (a positive integer, use_sliding_window not false), since layer_types has sliding_attention")
	}
}

// addGeneration adds the tokens of generation_config.json, if there is such a file.
func (c *Config) addGeneration(file string) error {
	text, err := head.ReadText(file, head.Description)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load config: %w", err)
	}
	o, err := parseObject(file, text)
	if err != nil {
		return err
	}
	if c.BOS < 0 {
		c.BOS = o.integer("bos_token_id", 0, c.VocabSize-1, -1)
	}
	for _, id := range o.tokens("eos_token_id", c.VocabSize) {
		if !slices.Contains(c.EOS, id) {
			c.EOS = append(c.EOS, id)
		}
	}
	return *o.err
}

// familyOf finds the architecture that a configuration names.
func familyOf(o object) (string, family, error) {
	archs := o.texts("architectures")
	modelType := o.text("model_type", "")
	if *o.err != nil {
		return "", family{}, *o.err
	}
	for arch, fam := range families {
		if slices.Contains(archs, arch) || len(archs) == 0 && fam.modelType == modelType {
			return arch, fam, nil
		}
	}
	if len(archs) == 0 && modelType != "" {
		failArchitecture(o, "model_type", modelType)
	}
	first := ""
	if len(archs) > 0 {
		first = archs[0]
	}
	failArchitecture(o, "architectures", first)
	return "", family{}, *o.err
}

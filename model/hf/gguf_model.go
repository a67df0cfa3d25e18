package hf

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"eisft/internal/head"
)

// ggufArchitecture is how an architecture of llama.cpp stands for one of Hugging Face's.
type ggufArchitecture struct {
	name string
	// paired says that the converter reorders the rows of q and k, so that
	// rotary embedding turns neighbours instead of the halves of a head.
	paired bool
	// shifted says that the norms' weights are stored with 1 added.
	shifted bool
	// partial says that heads may be turned in part.
	partial bool
	// parts are the parts of tensor names that differ from ggufNames.
	parts map[string]string
	// keys are the keys of config.json that only this architecture has, with their
	// metadata below its name.
	keys map[string]string
	// complete adds what the metadata leave to the architecture; nil if nothing.
	complete func(values map[string]any)
}

var ggufArchitectures = map[string]ggufArchitecture{
	"llama": {name: "LlamaForCausalLM", paired: true}, // Mistral's models too
	"qwen2": {name: "Qwen2ForCausalLM"},
	"qwen3": {name: "Qwen3ForCausalLM"},
	"phi3": {
		name: "Phi3ForCausalLM", partial: true,
		parts: map[string]string{"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"},
	},
	"stablelm":      stablelmGGUF,
	"internlm2":     internlm2GGUF,
	"hunyuan-dense": hunyuanGGUF,
	"ernie4_5":      ernie45GGUF,
	"gemma3": {
		name: "Gemma3ForCausalLM", shifted: true,
		parts: map[string]string{
			"post_attention_norm": "post_attention_layernorm",
			"ffn_norm":            "pre_feedforward_layernorm",
			"post_ffw_norm":       "post_feedforward_layernorm",
		},
		keys: map[string]string{
			"rope_local_base_freq":    "rope.freq_base_swa",
			"attn_logit_softcapping":  "attn_logit_softcapping",
			"final_logit_softcapping": "final_logit_softcapping",
		},
		complete: func(values map[string]any) {
			if values["rope_local_base_freq"] == nil { // llama.cpp takes it for granted
				values["rope_local_base_freq"] = json.Number("10000")
			}
			completeGemmaScale(values, "62")
		},
	},
	"gemma":    ggufGemma,
	"gemma2":   ggufGemma2,
	"granite":  ggufGranite,
	"smollm3":  ggufSmolLM3,
	"olmo2":    ggufOlmo2,
	"exaone4":  ggufExaone4,
	"minicpm":  ggufMiniCPM,
	"mistral3": ggufMistral3,
}

// ggufKeys maps keys of config.json to metadata, below the architecture's name.
var ggufKeys = map[string]string{
	"hidden_size":             "embedding_length",
	"intermediate_size":       "feed_forward_length",
	"num_hidden_layers":       "block_count",
	"num_attention_heads":     "attention.head_count",
	"num_key_value_heads":     "attention.head_count_kv",
	"head_dim":                "attention.key_length",
	"max_position_embeddings": "context_length",
	"rms_norm_eps":            "attention.layer_norm_rms_epsilon",
	"rope_theta":              "rope.freq_base",
	"sliding_window":          "attention.sliding_window",
}

// ggufNames maps the parts of tensor names, outside of layers and in them.
var ggufNames = map[string]string{
	"token_embd":  "model.embed_tokens",
	"output_norm": "model.norm",
	"output":      "lm_head",
	"attn_norm":   "input_layernorm",
	"attn_q":      "self_attn.q_proj",
	"attn_k":      "self_attn.k_proj",
	"attn_v":      "self_attn.v_proj",
	"attn_output": "self_attn.o_proj",
	"attn_q_norm": "self_attn.q_norm",
	"attn_k_norm": "self_attn.k_norm",
	"ffn_norm":    "post_attention_layernorm",
	"ffn_gate":    "mlp.gate_proj",
	"ffn_up":      "mlp.up_proj",
	"ffn_down":    "mlp.down_proj",
}

func loadGGUFConfig(path string, ignore []string) (*Config, error) {
	g, err := OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	c, err := g.config(ignore)
	if err == nil {
		c.Ignored = ignore
	}
	return c, errors.Join(err, g.Close())
}

// ConfigText returns the config.json of a model without the keys to ignore, which for a
// GGUF file is what its metadata say in that form.
func ConfigText(path string, ignore ...string) ([]byte, error) {
	path, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	gguf := ""
	if isGGUF(path) || !exists(filepath.Join(path, ConfigFile)) {
		if gguf, err = FindGGUF(path); err != nil {
			return nil, err
		}
	}
	if gguf == "" {
		return configText(filepath.Join(path, ConfigFile), ignore)
	}
	g, err := OpenGGUF(gguf)
	if err != nil {
		return nil, err
	}
	o, err := g.object(ignore)
	if err := errors.Join(err, g.Close()); err != nil {
		return nil, err
	}
	return json.MarshalIndent(o.values, "", "  ")
}

// configText returns a config.json without the keys to ignore; as it is, if there are none.
func configText(file string, ignore []string) ([]byte, error) {
	text, err := head.ReadText(file, head.Description)
	if err != nil || len(ignore) == 0 {
		return text, err
	}
	o, err := parseObject(file, text)
	if err == nil {
		o, err = o.without(ignore)
	}
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(o.values, "", "  ")
}

func openGGUFCheckpoint(path string) (*Checkpoint, error) {
	g, err := OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{tensors: map[string]stored{}, files: g.parts, closers: []func() error{g.Close}}
	if err := c.addGGUF(g); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// addGGUF adds a file's tensors under Hugging Face's names.
func (c *Checkpoint) addGGUF(g *GGUF) error {
	config, err := g.sizes()
	if err != nil {
		return err
	}
	arch := ggufArchitectures[g.Metadata["general.architecture"].(string)] // g.sizes has checked it
	for _, name := range g.Names() {
		if slices.Contains(ropeTensors, name) {
			continue
		}
		t := g.tensors[name]
		if t.Name = arch.translate(name); t.Name == "" {
			return fmt.Errorf("%s: tensor %s: found a name that %s has no counterpart for; the model is of another kind", g.files[name], name, config.Architecture)
		}
		s := stored{Tensor: t, file: g.files[name], shifted: arch.shifted && strings.HasSuffix(name, "_norm.weight")}
		if arch.paired {
			s.pairedHeads = pairedHeads(name, config)
		}
		if h := s.pairedHeads; h > 0 && (len(t.Shape) == 0 || t.Shape[0]%(2*h) != 0 || len(t.Data)%max(t.Shape[0], 1) != 0) {
			return fmt.Errorf("%s: tensor %s: found %s %v, want the rows of %d heads of even size", g.files[name], name, t.DType, t.Shape, h)
		}
		c.tensors[t.Name] = s
	}
	return nil
}

// translate returns the Hugging Face name of a tensor, or "".
func (a ggufArchitecture) translate(name string) string {
	prefix, rest := "", name
	if layer, ok := strings.CutPrefix(name, "blk."); ok {
		var index string
		if index, rest, ok = strings.Cut(layer, "."); !ok {
			return ""
		}
		prefix = "model.layers." + index + "."
	}
	part, kind, _ := strings.Cut(rest, ".")
	if to := cmp.Or(a.parts[part], ggufNames[part]); to != "" && (kind == "weight" || kind == "bias") {
		return prefix + to + "." + kind
	}
	return ""
}

func pairedHeads(name string, c *Config) int {
	switch {
	case strings.Contains(name, ".attn_q."):
		return c.NumAttentionHeads
	case strings.Contains(name, ".attn_k."):
		return c.NumKeyValueHeads
	default:
		return 0
	}
}

// config reads the metadata as it reads a config.json, as if those to ignore were not there.
func (g *GGUF) config(ignore []string) (*Config, error) {
	o, err := g.object(ignore)
	if err != nil {
		return nil, err
	}
	return newConfig(o)
}

// sizes reads as much of the metadata as the reading of tensors needs.
func (g *GGUF) sizes() (*Config, error) {
	o, known, err := g.values(nil)
	if err != nil {
		return nil, err
	}
	c := &Config{Architecture: known.name}
	c.readSizes(o.withDefaults(families[known.name].defaults))
	return c, *o.err
}

// object translates the metadata to the keys of a config.json.
func (g *GGUF) object(ignore []string) (object, error) {
	o, known, err := g.values(ignore)
	if err != nil {
		return o, err
	}
	if known.complete != nil {
		known.complete(o.values)
	}
	return o, g.addRope(o, known)
}

// values translates single metadata. The architecture is the one that the file names.
func (g *GGUF) values(ignore []string) (object, ggufArchitecture, error) {
	arch, _ := g.Metadata["general.architecture"].(string)
	if err := g.refuseForeign(); err != nil {
		return object{}, ggufArchitecture{}, err
	}
	known := ggufArchitectures[arch]
	o, err := newObject(g.path, g.Metadata).without(ignore)
	if err != nil {
		return o, known, err
	}
	o.metadata, o.values = arch+".", map[string]any{"architectures": []any{known.name}}
	o.source["architectures"] = "general.architecture"
	o.source["bos_token_id"], o.source["pad_token_id"] = "tokenizer.ggml.bos_token_id", "tokenizer.ggml.padding_token_id"
	for key, suffix := range ggufKeys {
		o.source[key] = o.metadata + suffix
	}
	for key, suffix := range known.keys {
		o.source[key] = o.metadata + suffix
	}
	for key, from := range o.source {
		if key != "architectures" {
			o.values[key] = o.metadatum(from) // nil rather than absent: transformers' defaults are not llama.cpp's
		}
	}
	if o.values["sliding_window"] == json.Number("0") { // as Phi-4 has it
		o.values["sliding_window"] = nil
	}
	o.values["eos_token_id"] = o.endTokens()
	if t := g.tensors["token_embd.weight"]; len(t.Shape) == 2 {
		o.values["vocab_size"] = json.Number(strconv.Itoa(t.Shape[0]))
	}
	_, untied := g.tensors["output.weight"]
	_, biased := g.tensors["blk.0.attn_q.bias"]
	o.values["tie_word_embeddings"], o.values["attention_bias"] = !untied, biased
	o.addPattern()
	return o, known, nil
}

// addPattern adds which layers slide: all but the last of so many (0: all), or those of a
// list of truths, one per layer.
func (o object) addPattern() {
	const key = "sliding_window_pattern"
	name := o.metadata + "attention." + key
	o.source[key], o.values[key] = name, o.metadatum(name)
	var slides []bool
	switch list := o.values[key].(type) {
	case []bool:
		slides = list
	case []int64: // as some writers have truths
		for _, n := range list {
			slides = append(slides, n != 0)
		}
	case json.Number:
		if n, _ := o.root[o.metadata+"block_count"].(int64); list == "0" && n > 0 && n <= maxLayers {
			slides = slices.Repeat([]bool{true}, int(n))
		}
	}
	if slides == nil {
		return
	}
	types := make([]any, len(slides))
	for i, s := range slides {
		types[i] = string(FullAttention)
		if s {
			types[i] = string(SlidingAttention)
		}
	}
	o.values[key], o.values["layer_types"], o.source["layer_types"] = nil, types, name
}

// metadatum returns a metadata value as a JSON decoder would give it, nil if it is absent.
func (o object) metadatum(name string) any {
	switch v := o.root[name].(type) {
	case int64:
		return json.Number(strconv.FormatInt(v, 10))
	case float64: // most are stored as float32: 1e-5, not 9.999999747e-06
		return json.Number(strconv.FormatFloat(v, 'g', -1, 32))
	default:
		return v
	}
}

// endTokens lists the tokens that end a text, a turn and a message (Llama 3's turn
// that asks for a tool's answer).
func (o object) endTokens() any {
	var all []any
	for _, key := range []string{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"} {
		o.read[key] = true
		switch v := o.metadatum(key).(type) {
		case nil:
		case json.Number:
			if !slices.Contains(all, any(v)) {
				all = append(all, v)
			}
		default: // the reader of the configuration says what is wrong with it
			return v
		}
	}
	return all
}

package hf

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	"gemma3": {
		name: "Gemma3ForCausalLM", shifted: true,
		parts: map[string]string{
			"post_attention_norm": "post_attention_layernorm",
			"ffn_norm":            "pre_feedforward_layernorm",
			"post_ffw_norm":       "post_feedforward_layernorm",
		},
		complete: completeGemma3,
	},
}

// completeGemma3 adds the scale of the attention: that of the head size, but for the
// model of 62 layers, 27b, that of its width over its heads, as in llama.cpp.
func completeGemma3(values map[string]any) {
	values["query_pre_attn_scalar"] = values["head_dim"]
	const layers27B = "62"
	width, _ := values["hidden_size"].(json.Number)
	heads, _ := values["num_attention_heads"].(json.Number)
	d, _ := width.Int64() // what is wrong with it shows when it is read
	h, _ := heads.Int64()
	if values["num_hidden_layers"] == json.Number(layers27B) && h > 0 {
		values["query_pre_attn_scalar"] = json.Number(strconv.FormatInt(d/h, 10))
	}
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

func loadGGUFConfig(path string) (*Config, error) {
	g, err := OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	c, err := g.config()
	return c, errors.Join(err, g.Close())
}

// ConfigText returns the config.json of a model, which for a GGUF file is what its
// metadata say in that form.
func ConfigText(path string) ([]byte, error) {
	gguf := ""
	if isGGUF(path) || !exists(filepath.Join(path, ConfigFile)) {
		var err error
		if gguf, err = FindGGUF(path); err != nil {
			return nil, err
		}
	}
	if gguf == "" {
		return os.ReadFile(filepath.Join(path, ConfigFile))
	}
	g, err := OpenGGUF(gguf)
	if err != nil {
		return nil, err
	}
	o, err := g.object()
	if err := errors.Join(err, g.Close()); err != nil {
		return nil, err
	}
	return json.MarshalIndent(o.values, "", "  ")
}

func openGGUFCheckpoint(path string) (*Checkpoint, error) {
	g, err := OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{tensors: map[string]stored{}, closers: []func() error{g.Close}}
	if err := c.addGGUF(g); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// addGGUF adds a file's tensors under Hugging Face's names.
func (c *Checkpoint) addGGUF(g *GGUF) error {
	config, err := g.config()
	if err != nil {
		return err
	}
	arch := ggufArchitectures[g.Metadata["general.architecture"].(string)] // g.config has checked it
	for _, name := range g.Names() {
		if slices.Contains(ropeTensors, name) {
			continue
		}
		t := g.tensors[name]
		if t.Name = arch.translate(name); t.Name == "" {
			return fmt.Errorf("%s: tensor %s: found a name that %s has no counterpart for; the model is of another kind", g.path, name, config.Architecture)
		}
		s := stored{Tensor: t, file: g.path, shifted: arch.shifted && strings.HasSuffix(name, "_norm.weight")}
		if arch.paired {
			s.pairedHeads = pairedHeads(name, config)
		}
		if h := s.pairedHeads; h > 0 && (len(t.Shape) == 0 || t.Shape[0]%(2*h) != 0 || len(t.Data)%max(t.Shape[0], 1) != 0) {
			return fmt.Errorf("%s: tensor %s: found %s %v, want the rows of %d heads of even size", g.path, name, t.DType, t.Shape, h)
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

// unpairRows undoes what llama.cpp's converter does to the rows of q and k: of
// each head of d rows, its row 2i+j is Hugging Face's row j·d/2+i.
func unpairRows(data []byte, rows, heads int) []byte {
	size, d := len(data)/rows, rows/heads
	out := make([]byte, 0, len(data))
	for h := range heads {
		for j := range 2 {
			for i := range d / 2 {
				from := (h*d + 2*i + j) * size
				out = append(out, data[from:from+size]...)
			}
		}
	}
	return out
}

// config reads the metadata as it reads a config.json.
func (g *GGUF) config() (*Config, error) {
	o, err := g.object()
	if err != nil {
		return nil, err
	}
	return newConfig(o)
}

// object translates the metadata to the keys of a config.json.
func (g *GGUF) object() (object, error) {
	arch, _ := g.Metadata["general.architecture"].(string)
	known, ok := ggufArchitectures[arch]
	if !ok {
		return object{}, fmt.Errorf("%s: general.architecture: found %q, want one of %s", g.path, arch,
			strings.Join(slices.Sorted(maps.Keys(ggufArchitectures)), ", "))
	}
	o := newObject(g.path, map[string]any{"architectures": []any{known.name}})
	o.source = map[string]string{"bos_token_id": "tokenizer.ggml.bos_token_id", "pad_token_id": "tokenizer.ggml.padding_token_id"}
	for key, suffix := range ggufKeys {
		o.source[key] = arch + "." + suffix
	}
	for key, suffix := range known.keys {
		o.source[key] = arch + "." + suffix
	}
	for key, from := range o.source {
		o.values[key] = g.value(from) // nil rather than absent: transformers' defaults are not llama.cpp's
	}
	o.values["eos_token_id"] = g.endTokens()
	if t := g.tensors["token_embd.weight"]; len(t.Shape) == 2 {
		o.values["vocab_size"] = json.Number(strconv.Itoa(t.Shape[0]))
	}
	_, untied := g.tensors["output.weight"]
	_, biased := g.tensors["blk.0.attn_q.bias"]
	o.values["tie_word_embeddings"], o.values["attention_bias"] = !untied, biased
	if known.complete != nil {
		known.complete(o.values)
	}
	return o, g.addRope(o, arch, known)
}

// value returns a metadata value as a JSON decoder would give it, nil if it is absent.
func (g *GGUF) value(key string) any {
	switch v := g.Metadata[key].(type) {
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
func (g *GGUF) endTokens() any {
	var all []any
	for _, key := range []string{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"} {
		switch v := g.value(key).(type) {
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

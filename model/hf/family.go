package hf

import (
	"encoding/json"
	"maps"
	"math"
	"strings"
)

// family is what an architecture implies beyond the values in its files.
type family struct {
	modelType string
	// defaults are the values of transformers' configuration class for keys
	// that a file may lack. A null in the file is not absent.
	defaults string
	// slides says whether layer i has sliding attention in a file without
	// layer_types; nil if the family has no such layers.
	slides func(o object, i int) bool
	// apply sets the fields that only this family, or each family in its own way, has.
	apply func(c *Config, o object)
}

// families holds the supported architectures; the values are those of
// transformers' src/transformers/models/*/configuration_*.py.
var families = map[string]family{
	"LlamaForCausalLM": {
		modelType: "llama",
		defaults:  `{"max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2}`,
		apply: func(c *Config, o object) {
			c.AttentionBias = o.boolean("attention_bias", false)
			c.AttentionOutputBias = c.AttentionBias
			c.MLPBias = o.boolean("mlp_bias", false)
		},
	},
	"MistralForCausalLM": {
		modelType: "mistral",
		defaults: `{"num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096,
			"bos_token_id": 1, "eos_token_id": 2}`,
		slides: everyLayer,
	},
	"Qwen2ForCausalLM": {
		modelType: "qwen2",
		defaults: `{"num_key_value_heads": 32, "max_position_embeddings": 32768,
			"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28}`,
		slides: upperLayers,
		apply:  func(c *Config, _ object) { c.AttentionBias = true },
	},
	"Qwen3ForCausalLM": {
		modelType: "qwen3",
		defaults: `{"num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32768,
			"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28}`,
		slides: upperLayers,
		apply: func(c *Config, o object) {
			c.QKNorm = true
			c.AttentionBias = o.boolean("attention_bias", false)
			c.AttentionOutputBias = c.AttentionBias
		},
	},
	"Phi3ForCausalLM": {
		modelType: "phi3",
		defaults: `{"max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
			"bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000}`,
		slides: everyLayer,
		apply:  func(c *Config, _ object) { c.FusedProjections = true },
	},
	"Gemma3ForCausalLM": {
		modelType: "gemma3_text",
		defaults: `{"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
			"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
			"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072,
			"rope_theta": 1e6, "rope_local_base_freq": 1e4, "query_pre_attn_scalar": 256,
			"sliding_window": 4096, "sliding_window_pattern": 6, "tie_word_embeddings": true,
			"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}`,
		slides: func(o object, i int) bool { return (i+1)%o.integer("sliding_window_pattern", 1, maxSize, 6) != 0 },
		apply:  applyGemma3,
	},
}

func everyLayer(object, int) bool { return true }

func upperLayers(o object, i int) bool { return i >= o.integer("max_window_layers", 0, maxSize, 28) }

func applyGemma3(c *Config, o object) {
	c.AttentionBias = o.boolean("attention_bias", false)
	c.AttentionOutputBias = c.AttentionBias
	c.QKNorm, c.NormAddsOne, c.PostNorms = true, true, true
	c.QueryPreAttnScale = math.Sqrt(1 / o.number("query_pre_attn_scalar", 1, 256))
	c.EmbeddingScale = math.Sqrt(float64(c.HiddenSize))
	for _, key := range []string{"attn_logit_softcapping", "final_logit_softcapping"} {
		if o.has(key) {
			o.fail(key, o.values[key], "null: logits are not capped in Gemma 3")
		}
	}
}

// withDefaults returns the object with the given JSON's values for absent keys.
func (o object) withDefaults(text string) object {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var values map[string]any
	if err := dec.Decode(&values); err != nil && *o.err == nil {
		*o.err = err
	}
	maps.Copy(values, o.values)
	o.values = values
	return o
}

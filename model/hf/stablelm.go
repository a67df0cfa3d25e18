package hf

import "encoding/json"

// stablelm is Llama with LayerNorm, a quarter of each head rotated and biases of q, k and v
// (StableLM 2, arXiv 2402.17834): all sizes but StableLM 2 12B, whose layers have another form.
var stablelm = family{
	modelType: "stablelm",
	defaults: `{"num_key_value_heads": 32, "max_position_embeddings": 4096, "layer_norm_eps": 1e-5,
		"partial_rotary_factor": 0.25, "bos_token_id": 0, "eos_token_id": 0}`,
	ignored: map[string]string{
		"hidden_dropout":        "drops out in the base's training alone",
		"use_parallel_residual": "of GGUF files: their tensors say it", // converters write true where a config.json says nothing
	},
	apply: func(c *Config, o object) {
		c.LayerNorm = true
		c.RMSNormEps = float32(o.number("layer_norm_eps", 0, 1e-5))
		c.AttentionBias = o.boolean("use_qkv_bias", false)
		for key, what := range map[string]string{
			"qk_layernorm":          "false: norms with weights of their own for each head (StableLM 2 12B) are not supported",
			"use_parallel_residual": "false: attention and feed-forward side by side (StableLM 2 12B) are not supported",
		} {
			if o.boolean(key, false) {
				o.fail(key, true, what)
			}
		}
	},
}

var stablelmGGUF = ggufArchitecture{
	name: "StableLmForCausalLM", partial: true,
	keys: map[string]string{"layer_norm_eps": "attention.layer_norm_epsilon"},
	complete: func(values map[string]any) {
		values["use_qkv_bias"] = values["attention_bias"]
		values["partial_rotary_factor"] = json.Number("1") // what files have that say nothing else
	},
}

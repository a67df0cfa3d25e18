package hf

import "encoding/json"

// smollm3 is Llama without rotary embedding in every fourth layer (NoPE, arXiv 2501.18795;
// huggingface.co/blog/smollm3).
var smollm3 = family{
	modelType: "smollm3",
	defaults: `{"num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_theta": 2e6, "tie_word_embeddings": true,
		"use_sliding_window": false, "no_rope_layer_interval": 4,
		"pad_token_id": 128004, "bos_token_id": 128000, "eos_token_id": 128001}`,
	slides: func(o object, i int) bool { return noRopeLayers(o, i+1)[i] },
	ignored: map[string]string{
		"max_window_layers": "layer_types or no_rope_layers say which layers have a sliding window",
		"pretraining_tp":    "it says how the model was trained",
	},
	apply: func(c *Config, o object) {
		c.AttentionBias = o.boolean("attention_bias", false)
		c.AttentionOutputBias = c.AttentionBias
		c.MLPBias = o.boolean("mlp_bias", false)
		c.NoRope = noRopeLayers(o, c.NumHiddenLayers)
	},
}

// noRopeLayers says of each of the first n layers whether its keys and queries are not
// turned: no_rope_layers has a 0 there, or else it is every no_rope_layer_interval-th.
func noRopeLayers(o object, n int) []bool {
	const want = "a list of 1 (with rotary embedding) and 0 (without), one per layer"
	turned := list(o, "no_rope_layers", want, func(v any) (bool, bool) { return v == json.Number("1"), v == json.Number("1") || v == json.Number("0") })
	if o.has("no_rope_layers") && len(turned) < n {
		o.fail("no_rope_layers", len(turned), want)
	}
	interval, out := o.integer("no_rope_layer_interval", 1, maxSize, 4), make([]bool, n)
	for i := range out {
		out[i] = (i+1)%interval == 0
		if i < len(turned) {
			out[i] = !turned[i]
		}
	}
	return out
}

// ggufSmolLM3 leaves the interval to llama.cpp.
var ggufSmolLM3 = ggufArchitecture{
	name: "SmolLM3ForCausalLM", paired: true,
	complete: func(values map[string]any) { values["no_rope_layer_interval"] = json.Number("4") },
}

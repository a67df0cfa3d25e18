package hf

import "math"

// olmo2 is Llama with norms over what attention and feed-forward put out, instead of what
// they read, and over queries and keys of all heads together (arXiv 2501.00656).
var olmo2 = family{
	modelType: "olmo2",
	defaults:  `{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "pad_token_id": 1, "eos_token_id": 50279}`,
	apply:     (*Config).readOlmo,
}

// olmo3 is olmo2 with a sliding window in three layers of four, whose rotary embedding is
// never scaled (Olmo 3 report, allenai.org/olmo), as in transformers 4.57 and llama.cpp;
// modular_olmo3.py of transformers 5 says so too, but scales that of all layers.
var olmo3 = family{
	modelType: "olmo3",
	defaults: `{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 5e5, "sliding_window": 4096,
		"pad_token_id": 1, "eos_token_id": 50279}`,
	slides: func(o object, i int) bool { return o.slidesInPattern(i, 4) },
	apply: func(c *Config, o object) {
		c.readOlmo(o)
		if !o.child("rope_parameters").has("sliding_attention") {
			c.RopeLocal = Rope{Type: "default", Theta: c.Rope.Theta, PartialRotaryFactor: c.Rope.PartialRotaryFactor}
		}
	},
}

// readOlmo sets what Olmo 2 and 3 have in common.
func (c *Config) readOlmo(o object) {
	c.AttentionBias = o.boolean("attention_bias", false)
	c.AttentionOutputBias = c.AttentionBias
	c.PostNorms, c.NoInputNorms, c.QKNorm, c.QKNormWhole = true, true, true, true
	c.QueryPreAttnScale = 1 / math.Sqrt(float64(c.HeadDim))
}

// ggufOlmo2 is both: Olmo 3 has a window.
var ggufOlmo2 = ggufArchitecture{
	name: "Olmo2ForCausalLM", parts: ggufNormsAfter,
	complete: func(values map[string]any) {
		if values["sliding_window"] != nil {
			values["architectures"] = []any{"Olmo3ForCausalLM"}
		}
	},
}

// ggufNormsAfter are the names of norms after attention and feed-forward, where there are
// none before them.
var ggufNormsAfter = map[string]string{
	"post_attention_norm": "post_attention_layernorm",
	"post_ffw_norm":       "post_feedforward_layernorm",
}

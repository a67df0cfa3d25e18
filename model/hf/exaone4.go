package hf

// exaone4 is Llama with norms over what attention and feed-forward put out, instead of what
// they read, and over each head of queries and keys; where some layers have a sliding
// window, the others have no rotary embedding (EXAONE 4.0, arXiv 2507.11407).
var exaone4 = family{
	modelType: "exaone4",
	defaults: `{"num_key_value_heads": 32, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
		"sliding_window": 4096, "sliding_window_pattern": 4, "bos_token_id": 0, "eos_token_id": 2}`,
	slides: func(o object, i int) bool { return o.slidesInPattern(i, 4) },
	apply: func(c *Config, o object) {
		c.PostNorms, c.NoInputNorms, c.QKNorm = true, true, true
		if !o.has("sliding_window") {
			return
		}
		for _, t := range c.LayerTypes {
			c.NoRope = append(c.NoRope, t == FullAttention)
		}
	},
}

var ggufExaone4 = ggufArchitecture{
	name: "Exaone4ForCausalLM", parts: ggufNormsAfter,
	keys: map[string]string{"sliding_window_pattern": "attention.sliding_window_pattern"},
}

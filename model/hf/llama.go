package hf

// llama is the architecture that the others are variants of: Llama 1 to 3
// (arXiv 2302.13971, 2407.21783), SmolLM and many more.
var llama = family{
	modelType: "llama",
	defaults:  `{"max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2}`,
	apply: func(c *Config, o object) {
		c.AttentionBias = o.boolean("attention_bias", false)
		c.AttentionOutputBias = c.AttentionBias
		c.MLPBias = o.boolean("mlp_bias", false)
	},
}

package hf

// qwen3 is Llama with norms over each head of q and k (arXiv 2505.09388).
var qwen3 = family{
	modelType: "qwen3",
	defaults: `{"num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32768,
		"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28}`,
	slides: upperLayers,
	apply: func(c *Config, o object) {
		c.QKNorm = true
		c.AttentionBias = o.boolean("attention_bias", false)
		c.AttentionOutputBias = c.AttentionBias
	},
}

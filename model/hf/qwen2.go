package hf

// qwen2 is Llama with biases of q, k and v (arXiv 2407.10671).
var qwen2 = family{
	modelType: "qwen2",
	defaults: `{"num_key_value_heads": 32, "max_position_embeddings": 32768,
		"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28}`,
	slides:  upperLayers,
	ignored: map[string]string{"attention_bias": "q, k and v have biases, the output has none"},
	apply:   func(c *Config, _ object) { c.AttentionBias = true },
}

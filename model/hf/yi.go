package hf

// yi is Llama with other names of two norms: Yi as it was first released (arXiv 2403.04652).
// Later files say LlamaForCausalLM.
var yi = family{
	modelType: "Yi",
	defaults: `{"num_key_value_heads": 4, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 5e6,
		"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}`,
	apply: func(c *Config, _ object) {
		c.TensorNames = map[string]string{"input_layernorm": "ln1", "post_attention_layernorm": "ln2"}
	},
}

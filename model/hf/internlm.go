package hf

// internlm2 is Llama with other names, and with q, k and v stacked by KV head
// (arXiv 2403.17297). The names and the order of rows are those of modeling_internlm2.py.
var internlm2 = family{
	modelType: "internlm2",
	defaults:  `{"max_position_embeddings": 2048, "bias": true, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}`,
	apply: func(c *Config, o object) {
		c.AttentionBias = o.boolean("bias", true)
		c.AttentionOutputBias = c.AttentionBias
		c.GroupedQKV = !o.boolean(splitQKV, false)
		c.TensorNames = map[string]string{
			"model.embed_tokens": "model.tok_embeddings", "lm_head": "output",
			"input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
			"self_attn.qkv_proj": "attention.wqkv", "self_attn.o_proj": "attention.wo",
			"mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2",
		}
	},
}

// splitQKV is the key of what only GGUF files have: q, k and v taken apart.
const splitQKV = "split_qkv"

// internlm2GGUF has q, k and v apart, with their rows paired.
var internlm2GGUF = ggufArchitecture{
	name: "InternLM2ForCausalLM", paired: true,
	parts: map[string]string{
		"token_embd": "model.tok_embeddings", "output": "output", "attn_norm": "attention_norm", "ffn_norm": "ffn_norm",
		"attn_output": "attention.wo", "ffn_gate": "feed_forward.w1", "ffn_up": "feed_forward.w3", "ffn_down": "feed_forward.w2",
	},
	complete: func(values map[string]any) { values["bias"], values[splitQKV] = values["attention_bias"], true },
}

// internlm3 is Llama with two switches for biases, as modeling_internlm3.py has them.
var internlm3 = family{
	modelType: "internlm3",
	defaults: `{"max_position_embeddings": 32768, "bias": false, "qkv_bias": false,
		"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}`,
	apply: func(c *Config, o object) {
		c.AttentionBias = o.boolean("qkv_bias", false)
		c.AttentionOutputBias = o.boolean("bias", false)
		c.MLPBias = c.AttentionOutputBias
	},
}

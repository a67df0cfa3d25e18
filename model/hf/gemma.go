package hf

import "math"

// gemma is Llama with GELU instead of SiLU, embeddings scaled by √D and norms that multiply
// by one more than their weight (arXiv 2403.08295).
var gemma = family{
	modelType: "gemma",
	defaults: `{"vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576, "num_hidden_layers": 28,
		"num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
		"max_position_embeddings": 8192, "tie_word_embeddings": true,
		"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}`,
	tanhGELU: true,
	ignored:  map[string]string{"hidden_act": "GELU is by its tanh formula, whatever it says"},
	apply: func(c *Config, o object) {
		c.readGemma(o)
		c.refuseBidirectional(o)
	},
}

// readGemma sets what Gemma 1 to 3 have in common.
func (c *Config) readGemma(o object) {
	c.AttentionBias = o.boolean("attention_bias", false)
	c.AttentionOutputBias = c.AttentionBias
	c.NormAddsOne = true
	c.EmbeddingScale = math.Sqrt(float64(c.HiddenSize))
}

// refuseBidirectional refuses a model whose tokens see what follows them.
func (c *Config) refuseBidirectional(o object) {
	if o.boolean("use_bidirectional_attention", false) {
		o.fail("use_bidirectional_attention", true, "false: an embedding model writes no text")
	}
}

var ggufGemma = ggufArchitecture{name: "GemmaForCausalLM", shifted: true}

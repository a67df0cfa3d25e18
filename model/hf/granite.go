package hf

import "math"

// granite is Llama with factors at its embeddings, its attention's logits, what attention
// and feed-forward add to the residual stream, and its logits (μP, arXiv 2203.03466, as the
// Granite 3.0 Language Models report has it).
var granite = family{
	modelType: "granite",
	defaults: `{"max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2,
		"embedding_multiplier": 1, "attention_multiplier": 1, "residual_multiplier": 1, "logits_scaling": 1}`,
	apply: func(c *Config, o object) {
		c.AttentionBias = o.boolean("attention_bias", false)
		c.AttentionOutputBias = c.AttentionBias
		c.MLPBias = o.boolean("mlp_bias", false)
		c.EmbeddingScale = o.positive("embedding_multiplier", 1)
		c.QueryPreAttnScale = o.positive("attention_multiplier", 1/math.Sqrt(float64(c.HeadDim)))
		c.ResidualScale = o.positive("residual_multiplier", 1)
		c.LogitScale = o.positive("logits_scaling", 1)
		if !o.boolean("rope_finetuned", true) {
			o.fail("rope_finetuned", false, "true: a model without rotary embedding is not supported")
		}
	},
}

// ggufGranite says nothing of a factor that is not used, but for the attention's: that is
// 1/√d then.
var ggufGranite = ggufArchitecture{
	name: "GraniteForCausalLM", paired: true,
	keys: map[string]string{
		"embedding_multiplier": "embedding_scale",
		"attention_multiplier": "attention.scale",
		"residual_multiplier":  "residual_scale",
		"logits_scaling":       "logit_scale",
		"rope_finetuned":       "rope.scaling.finetuned",
	},
}

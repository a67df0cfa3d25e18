package hf

import "encoding/json"

// mistral3 is what Mistral Small 3.1 and Ministral 3 are released as: a text model beside
// one that sees.
var mistral3 = family{
	modelType: "mistral", text: "text_config", defaults: "{}", // those of the text model stand in its family
	textFamily: map[string]*family{"mistral": &mistral, "ministral3": &ministral3},
}

// ministral3 is Mistral with queries that grow with their position (Llama 4's temperature):
// q is multiplied by 1 + β·ln(1 + ⌊p/L⌋), with L the length before it was extended by YaRN.
// That is 1 below L, and positions beyond are refused.
var ministral3 = family{
	modelType: "ministral3",
	defaults: `{"vocab_size": 131072, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 34,
		"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 262144,
		"rms_norm_eps": 1e-5, "pad_token_id": 11, "bos_token_id": 1, "eos_token_id": 2,
		"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 16, "original_max_position_embeddings": 16384,
			"beta_fast": 32, "beta_slow": 1, "mscale_all_dim": 1, "mscale": 1, "llama_4_scaling_beta": 0.1}}`,
	slides: everyLayer,
	apply: func(c *Config, o object) {
		rope := o.child("rope_scaling")
		if len(rope.values) == 0 {
			rope = o.child("rope_parameters")
		}
		rope.integer("max_position_embeddings", 0, maxSize, 0) // stands there twice
		if m := o.number("yarn_log_multiplier", 0, 0); m == 1 {
			c.Rope.AttentionFactor, c.RopeLocal.AttentionFactor = 1, 1
		} else if m != 0 {
			o.fail("yarn_log_multiplier", m, "1: it is mscale_all_dim, and the file does not say what mscale is")
		}
		beta := rope.number("llama_4_scaling_beta", 0, o.number("llama_4_scaling_beta", 0, 0))
		if beta == 0 {
			return
		}
		if c.ScaledQueriesFrom = c.Rope.OriginalMaxPositionEmbeddings; c.ScaledQueriesFrom == 0 {
			rope.fail("original_max_position_embeddings", nil, "the length from which on queries grow, since there is a llama_4_scaling_beta")
		}
	},
}

// ggufMistral3 has no mscale, which llama.cpp takes to be 1. yarn_log_multiplier is
// mscale_all_dim, of which the models have 1, so that YaRN's factor of cosines and sines is 1.
var ggufMistral3 = ggufArchitecture{
	name: "Ministral3ForCausalLM", paired: true,
	keys: map[string]string{"llama_4_scaling_beta": "attention.temperature_scale", "yarn_log_multiplier": "rope.scaling.yarn_log_multiplier"},
	complete: func(values map[string]any) {
		if values["yarn_log_multiplier"] == nil {
			values["yarn_log_multiplier"] = json.Number("1")
		}
	},
}

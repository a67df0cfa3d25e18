package hf

// ernie45 is Llama whose rotary embedding turns neighbours: Ernie 4.5's dense model, as
// transformers' modeling_ernie4_5.py has it.
var ernie45 = family{
	modelType: "ernie4_5",
	defaults: `{"num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
		"rope_theta": 500000, "tie_word_embeddings": true, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}`,
	apply: func(c *Config, o object) {
		c.Architecture = "Ernie4_5ForCausalLM" // under both names
		c.InterleavedRotary = true
		c.AttentionBias = o.boolean("use_bias", false)
		c.AttentionOutputBias, c.MLPBias = c.AttentionBias, c.AttentionBias
		if r := o.number("compression_ratio", 0, 1); r != 1 {
			o.fail("compression_ratio", r, "1: positions are not divided")
		}
	},
}

// ernie45GGUF has the rows of q and k as Hugging Face's checkpoint has them.
var ernie45GGUF = ggufArchitecture{
	name:     "Ernie4_5ForCausalLM",
	complete: func(values map[string]any) { values["use_bias"] = values["attention_bias"] },
}

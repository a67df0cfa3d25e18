package hf

import "math"

// gemma3 is the text model of Gemma 3 (arXiv 2503.19786): five layers of six
// have a sliding window and a rotary embedding of their own.
var gemma3 = family{
	modelType: "gemma3_text",
	defaults: `{"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
		"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
		"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072,
		"rope_theta": 1e6, "rope_local_base_freq": 1e4, "query_pre_attn_scalar": 256,
		"sliding_window": 4096, "tie_word_embeddings": true,
		"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}`,
	ignored: map[string]string{"rope_local_base_freq": "no layer slides"},
	slides: func(o object, i int) bool {
		period := o.integer("_sliding_window_pattern", 1, maxSize, 6) // the name in some releases
		return (i+1)%o.integer("sliding_window_pattern", 1, maxSize, period) != 0
	},
	apply: func(c *Config, o object) {
		c.readGemma(o)
		c.refuseBidirectional(o)
		c.QKNorm, c.PostNorms = true, true
		c.QueryPreAttnScale = 1 / math.Sqrt(o.number("query_pre_attn_scalar", 1, 256))
		c.FinalLogitSoftcap = o.positive("final_logit_softcapping", 0)
		if key := "attn_logit_softcapping"; o.number(key, 0, 0) != 0 {
			o.fail(key, o.values[key], "null: the logits of attention are not capped in Gemma 3")
		}
	},
}

// gemma3Multimodal is what Gemma 3 is released as from 4b on: the same text model beside
// one that sees.
var gemma3Multimodal = func() family {
	f := gemma3
	f.modelType, f.text = "gemma3", "text_config"
	return f
}()

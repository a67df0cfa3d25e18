package hf

import (
	"encoding/json"
	"math"
	"strconv"
)

// gemma2 is Gemma with norms after attention and feed-forward, too, a sliding window in
// every other layer, and capped logits (arXiv 2408.00118).
var gemma2 = family{
	modelType: "gemma2",
	defaults: `{"vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
		"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
		"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 8192, "tie_word_embeddings": true,
		"query_pre_attn_scalar": 256, "sliding_window": 4096, "attn_logit_softcapping": 50, "final_logit_softcapping": 30,
		"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}`,
	slides: func(o object, i int) bool { return o.slidesInPattern(i, 2) },
	ignored: map[string]string{
		"hidden_act":           "hidden_activation stands for it",
		"cache_implementation": "it says how transformers stores keys and values",
	},
	apply: func(c *Config, o object) {
		c.readGemma(o)
		c.PostNorms = true
		c.QueryPreAttnScale = 1 / math.Sqrt(o.number("query_pre_attn_scalar", 1, 256))
		c.AttentionSoftcap = o.positive("attn_logit_softcapping", 0)
		c.FinalLogitSoftcap = o.positive("final_logit_softcapping", 0)
		c.refuseBidirectional(o)
	},
}

var ggufGemma2 = ggufArchitecture{
	name: "Gemma2ForCausalLM", shifted: true,
	parts: map[string]string{
		"post_attention_norm": "post_attention_layernorm",
		"ffn_norm":            "pre_feedforward_layernorm",
		"post_ffw_norm":       "post_feedforward_layernorm",
	},
	keys: map[string]string{
		"attn_logit_softcapping":  "attn_logit_softcapping",
		"final_logit_softcapping": "final_logit_softcapping",
		"sliding_window_pattern":  "attention.sliding_window_pattern",
	},
	complete: func(values map[string]any) {
		completeGemmaScale(values, "46")
		for key, usual := range map[string]json.Number{"attn_logit_softcapping": "50", "final_logit_softcapping": "30", "sliding_window": "4096"} {
			if values[key] == nil { // files of before these were written
				values[key] = usual
			}
		}
	},
}

// completeGemmaScale adds the scale of the attention: that of the head size, but for the
// model of 27b, which has so many layers: that of its width over its heads, as in llama.cpp.
func completeGemmaScale(values map[string]any, layers27B json.Number) {
	values["query_pre_attn_scalar"] = values["head_dim"]
	width, _ := values["hidden_size"].(json.Number)
	heads, _ := values["num_attention_heads"].(json.Number)
	d, _ := width.Int64() // what is wrong with it shows when it is read
	h, _ := heads.Int64()
	if values["num_hidden_layers"] == layers27B && h > 0 {
		values["query_pre_attn_scalar"] = json.Number(strconv.FormatInt(d/h, 10))
	}
}

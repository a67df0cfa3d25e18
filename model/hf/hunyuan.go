package hf

import "strings"

// aToken is why the keys of special tokens change nothing.
const aToken = "a token, which the tokenizer knows"

// hunyuan is Llama with norms over each head of q and k after rotary embedding, whose theta
// grows with alpha instead of with the length: HunYuan's dense models, as transformers'
// modeling_hunyuan_v1_dense.py has them.
var hunyuan = family{
	modelType: "hunyuan_v1_dense",
	defaults: `{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
		"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}`,
	ignored: map[string]string{
		"add_classification_head": "of classifiers", "class_num": "of classifiers", "pool_type": "of classifiers", "dense_list": "of classifiers",
		"cla_share_factor": "of use_cla, which is refused", "org_vocab_size": "the vocabulary before padding",
		"pad_id": aToken, "sep_token_id": aToken, "eod_token_id": aToken, "mask_init_id": aToken,
		"im_start_id": aToken, "im_end_id": aToken, "im_newline_id": aToken, "text_start_id": aToken, "text_end_id": aToken,
	},
	apply: func(c *Config, o object) {
		c.QKNorm = o.boolean("use_qk_norm", true)
		c.QKNormAfterRotary = c.QKNorm
		c.AttentionBias = o.boolean("attention_bias", false)
		c.AttentionOutputBias = c.AttentionBias
		c.MLPBias = o.boolean("mlp_bias", false)
		c.TensorNames = map[string]string{"self_attn.q_norm": "self_attn.query_layernorm", "self_attn.k_norm": "self_attn.key_layernorm"}
		if c.Rope.Type == "dynamic" {
			p := o.rope()
			c.Rope.Alpha = p.number("alpha", 0, 0)
			c.RopeLocal = c.Rope
			p.checkRope(c.Rope, c, nil)
		}
		if o.boolean("use_cla", false) {
			o.fail("use_cla", true, "false: layers that share their keys and values are not supported")
		}
		if !o.boolean("use_rotary_pos_emb", true) {
			o.fail("use_rotary_pos_emb", false, "true")
		}
		if kind := o.text("norm_type", "rms"); !strings.Contains(kind, "rms") {
			o.fail("norm_type", kind, "rms")
		}
		if n := o.integer("num_experts", 1, maxSize, 1); n > 1 {
			o.fail("num_experts", n, "1: mixtures of experts are not supported")
		}
		if d := o.integer("attention_head_dim", 1, maxSize, c.HeadDim); d != c.HeadDim {
			o.fail("attention_head_dim", d, "the same as head_dim")
		}
	},
}

// hunyuanGGUF has alpha in its theta already.
var hunyuanGGUF = ggufArchitecture{
	name:  "HunYuanDenseV1ForCausalLM",
	parts: map[string]string{"attn_q_norm": "self_attn.query_layernorm", "attn_k_norm": "self_attn.key_layernorm"},
}

package hf

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// is holds for the given values: numbers, texts, true or false.
func is(values ...any) condition {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return condition{strings.Join(texts, " or "), func(v any, _ map[string]any) bool {
		return slices.ContainsFunc(values, func(want any) bool {
			if n, ok := want.(int); ok {
				f, isNumber := number(v)
				return isNumber && f == float64(n)
			}
			return v == want
		})
	}}
}

// off holds for false, 0 and what is empty.
var off = condition{"false, 0 or empty", func(v any, _ map[string]any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	default:
		f, ok := number(v)
		return ok && f == 0
	}
}}

// zeros holds for a list of zeros.
var zeros = condition{"zeros", func(v any, _ map[string]any) bool {
	list, ok := v.([]int64)
	return ok && !slices.ContainsFunc(list, func(n int64) bool { return n != 0 })
}}

// beside holds where a key of the same record is set.
func beside(key string) condition {
	return condition{key + " beside it", func(_ any, beside map[string]any) bool { return beside[key] != nil }}
}

// same holds for a number that another key of the same record has too.
func same(key string) condition {
	return condition{"the same as " + key, func(v any, beside map[string]any) bool {
		a, ok := number(v)
		b, known := number(beside[key])
		return ok && known && a == b
	}}
}

// either holds where one of two does.
func either(a, b condition) condition {
	return condition{a.text + " or " + b.text, func(v any, beside map[string]any) bool { return a.holds(v, beside) || b.holds(v, beside) }}
}

// atLeast holds for a number that is at least another key's.
func atLeast(key string) condition {
	return condition{"one of at least " + key, func(v any, beside map[string]any) bool {
		a, ok := number(v)
		b, known := number(beside[key])
		return ok && known && a >= b
	}}
}

// The reasons that several keys have.
const (
	training   = "training"
	generation = "a default of generation, which has options of its own here"
	packaging  = "how the model was made or saved"
	framework  = "how transformers runs the model"
	notHere    = "switched off"
	tokens     = "a token, which the tokenizer knows"
	noExperts  = "there are no experts"
)

// table gives keys one reason.
func table(to map[string]harmless, reason string, when condition, keys ...string) {
	for _, key := range keys {
		to[key] = harmless{reason, when}
	}
}

// configRules are for config.json and the text model's record in it.
var configRules = rules{harmless: harmlessKeys(), patterns: configPatterns, computes: speaksOfComputing}

func harmlessKeys() map[string]harmless {
	t := map[string]harmless{}
	var always condition
	table(t, packaging, always, "transformers_version", "transformers_weights", "auto_map", "custom_pipelines", "transformers.js_config",
		"architecture", "model_name", "name", "_name_or_path", "_commit_hash", "license", "finetuning_task", "task_specific_params", "problem_type",
		"id2label", "label2id", "num_labels", "tokenizer_class", "processor_class", "tokenizer_name", "base_model", "base_model_name_or_path",
		"torchscript", "adapters", "_from_model_config", "_original_object_hash", "_original_class_name", "sentence_embedding_dimension",
		"language", "languages", "library_name", "date", "version", "author", "original_architecture", "original_model_type", "trust_remote_code")
	table(t, training, always, "initializer_range", "initializer_factor", "initializer_cutoff_factor", "init_method", "init_std", "gradient_checkpointing", "use_gradient_checkpointing",
		"layerdrop", "label_smoothing", "router_aux_loss_coef", "router_z_loss_coef", "aux_loss_alpha", "seq_aux", "z_loss_coefficient", "classifier_dropout",
		"rescale_layer_initialization", "use_mup_init", "training_dtype", "max_train_length", "fused_linear_cross_entropy", "loss_type", "ignore_index", "neftune_noise_alpha")
	table(t, framework, always, "use_cache", "cache_implementation", "return_dict", "output_attentions", "output_hidden_states", "output_scores",
		"return_dict_in_generate", "output_router_logits", "use_bfloat16", "tf_legacy_loss", "chunk_size_feed_forward", "torch_compile", "keys_to_ignore_at_inference",
		"attn_implementation", "low_cpu_mem_usage", "is_decoder", "use_parallel_embedding", "fused_ops", "use_cuda_graph", "is_composition",
		"use_return_dict", "model_parallel", "sequence_parallel", "tensor_parallel_degree", "tensor_model_parallel_size", "pipeline_model_parallel_size", "world_size", "num_logits_to_keep", "logits_to_keep", "device_map", "is_llama_config", "use_fused_crossentropy", "use_fused_rope", "use_fused_rms_norm", "fuse_norm", "fuse_swiglu", "fuse_cross_entropy", "use_fused_mlp", "use_kernels", "enable_lm_head_fp32", "enable_attention_fp32_softmax")
	table(t, generation, always, "max_length", "min_length", "max_new_tokens", "min_new_tokens", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty",
		"temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
		"bad_words_ids", "num_return_sequences", "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
		"penalty_alpha", "chat_template", "stop_strings", "prefix")
	table(t, "the tokenizer's length, which is no part of the model", always, "max_sequence_length", "model_max_length", "max_seq_len", "max_seq_length",
		"seq_length", "seq_len", "tokenizer_model_max_length", "max_context_length", "padding_side", "tokenizer_padding_side", "vocab_file")
	table(t, tokens, always, "bos_token", "eos_token", "pad_token", "unk_token", "additional_special_tokens")
	table(t, "it cuts products into parts that are added up again", always, "pretraining_tp")
	table(t, "the weights say their type", always, "params_dtype", "compute_dtype", "bf16", "fp16", "fp32", "torch_dtype_str")
	table(t, "the context before it was extended; nothing extends it", always, "original_max_position_embeddings")
	table(t, "no layer slides", always, "sliding_window")
	table(t, "sliding_window says the same", same("sliding_window"), "sliding_window_size")
	table(t, "layer_types goes before it", either(beside("layer_types"), off), "sliding_window_pattern", "_sliding_window_pattern")
	table(t, "no layer slides", is(false), "use_sliding_window")
	table(t, "no layer slides, or layer_types says which", condition{}, "max_window_layers")
	table(t, "hidden_activation goes before it", beside("hidden_activation"), "hidden_act")
	table(t, "norms are RMSNorm, with rms_norm_eps", beside("rms_norm_eps"), "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "layernorm_epsilon")
	table(t, "another key says the same", either(beside("rms_norm_eps"), same("layer_norm_eps")), "norm_eps")
	table(t, notHere, off, "attention_bias", "mlp_bias", "qkv_bias", "add_qkv_bias", "use_qkv_bias", "use_bias", "bias", "lm_head_bias", "attention_out_bias", "o_proj_bias", "no_bias",
		"use_qk_norm", "qk_norm", "qk_layernorm", "use_mrope", "rope_interleaved", "rope_interleave", "rope_traditional", "is_encoder_decoder",
		"add_cross_attention", "cross_attention_hidden_size", "tie_encoder_decoder", "pruned_heads", "parallel_attn", "use_parallel_residual", "alibi", "use_alibi", "use_sinks", "use_attention_sinks",
		"final_logit_softcapping", "attn_logit_softcapping", "logits_soft_cap", "attn_logit_softcap", "use_bidirectional_attention", "bidirectional", "log_scale", "use_logn_attn", "use_dynamic_ntk",
		"quantization", "num_nextn_predict_layers", "mtp_num_hidden_layers", "num_kv_shared_layers", "attention_chunk_size", "attention_sink_size", "clip_qkv", "use_lora", "kv_lora_rank", "q_lora_rank",
		"use_mamba", "use_double_wide_mlp", "scale_embedding", "normalize_embedding", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "attn_output_gate", "use_attn_gate", "llama4_scaling_beta")
	table(t, noExperts, off, "num_experts", "num_local_experts", "n_routed_experts", "n_shared_experts", "num_experts_per_tok", "num_experts_per_token", "moe_intermediate_size",
		"shared_expert_intermediate_size", "mlp_only_layers", "moe_layers", "first_k_dense_replace", "norm_topk_prob", "moe", "moe_num_experts", "expert_capacity", "router_jitter_noise")
	table(t, noExperts, is(0, 1), "decoder_sparse_step", "moe_layer_freq", "num_local_experts", "num_experts")
	table(t, "it is what the model computes", is(true), "is_causal", "causal", "rotary", "use_rope", "use_rotary", "use_rotary_embeddings", "use_rms_norm", "rmsnorm", "gated_mlp", "use_swiglu", "use_gqa", "use_rotary_position_embeddings")
	table(t, "it is what the model computes", is("swiglu"), "activation")
	table(t, "it is what the model computes", is("rope", "rotary"), "position_embedding_type", "pos_emb", "pos_embd_type")
	table(t, "it is what the model computes", is("rmsnorm", "rms_norm", "RMSNorm"), "norm_type", "normalization", "norm")
	table(t, "a factor of 1", is(1), "full_attn_mod", "interpolate_factor", "logit_scale", "logits_scaling", "residual_multiplier", "embedding_multiplier", "rope_ratio", "rope_scaling_factor", "rotary_scaling_factor", "embedding_scale", "logits_scale")
	table(t, "the part of a head that is turned", either(is(1), same("partial_rotary_factor")), "rotary_pct", "rope_pct", "rotary_percent")
	return t
}

var configPatterns = []pattern{
	{
		"vision_*, image_*, video_*, audio_*, img_*, mm_*, multimodal_*, projector_*, spatial_*", "of parts of the model that see or hear",
		prefix("vision_", "image_", "video_", "audio_", "img_", "mm_", "multimodal_", "projector_", "spatial_"),
	},
	{"unsloth_*", packaging, prefix("unsloth_")},
	{"_attn_implementation*, _experts_implementation*", framework, prefix("_attn_implementation", "_experts_implementation")},
	{"*flash_attn*, *flash_attention*, *flashattn*, *flash_norm*, *flash_rotary*", framework, contains("flash_attn", "flash_attention", "flashattn", "flash_norm", "flash_rotary", "flash_cross_entropy")},
	{"*dropout, *dropout_prob, *dropout_rate, *_pdrop, *dropout_p", training, suffix("dropout", "dropout_prob", "dropout_rate", "_pdrop", "dropout_p")},
	{"*_loss_coef, *_loss_weight, *loss_alpha", training, suffix("_loss_coef", "_loss_weight", "loss_alpha")},
	{"*_token_id, *_token_ids, *_token_index", tokens, suffix("_token_id", "_token_ids", "_token_index")},
}

func prefix(all ...string) func(string) bool {
	return func(key string) bool {
		return slices.ContainsFunc(all, func(p string) bool { return strings.HasPrefix(key, p) })
	}
}

func suffix(all ...string) func(string) bool {
	return func(key string) bool {
		return slices.ContainsFunc(all, func(p string) bool { return strings.HasSuffix(key, p) })
	}
}

func contains(all ...string) func(string) bool {
	return func(key string) bool {
		return slices.ContainsFunc(all, func(p string) bool { return strings.Contains(key, p) })
	}
}

// computingWords are the words of what a model computes. A key with one of them is refused
// unless it is known.
var computingWords = strings.Fields(`
	act activation activations alibi attention attn bias block blocks cap capping causal chunk clamp clip conv cross
	depth dim dimension dimensions dims embd embed embedding embeddings encoder eps epsilon expert experts
	factor feed ffn forward freq frequency full gate gated gelu global glu group groups head heads hidden hyper
	inner interleave interleaved intermediate kernel key kv layer layers layernorm linear local logit logits lora
	mamba mask mlp moe mqa mrope mtp multiplier multiquery mup norm normalization normalize norms nope ntk
	parallel partial pattern period position positions proj projection
	qk qkv quant quantization quantized query rank ratio recurrent residual rms rmsnorm rope rotary router routed routing
	scalar scale scaled scales scaling sections shared shift silu sink sinks skip sliding softcap softcapping softmax sparse ssm
	theta tie tied topk value width window windows xielu yarn`)

// speaksOfComputing tells whether a word of a key's name is of what a model computes.
func speaksOfComputing(key string) bool {
	words := strings.FieldsFunc(strings.ToLower(key), func(r rune) bool { return !unicode.IsLetter(r) })
	return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(computingWords, w) })
}

// ropeRules are for the records of rotary embeddings: what is in them is computed.
var ropeRules = rules{harmless: harmlessRope(), computes: func(string) bool { return true }}

func harmlessRope() map[string]harmless {
	t := map[string]harmless{}
	table(t, "says that the model was trained so", condition{}, "finetuned")
	table(t, "of another rope_type", condition{}, "original_max_position_embeddings", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "truncate")
	table(t, "a factor of 1", is(1), "factor", "attention_factor", "attn_factor", "extrapolation_factor", "short_mscale", "long_mscale")
	table(t, "without effect", is(0, 1), "mscale", "mscale_all_dim")
	table(t, "it is what the type computes", is(true), "apply_yarn_scaling")
	table(t, notHere, off, "mrope_interleaved", "mrope_section", "rope_interleaved", "llama_4_scaling_beta")
	return t
}

// metadataRules are for the metadata of a GGUF file below the name of its architecture,
// fileRules for all others.
var (
	metadataRules = rules{harmless: harmlessMetadata(), computes: func(key string) bool {
		return prefix("rope.", "attention.")(key) || suffix("softcapping")(key) || speaksOfComputing(key)
	}}
	fileRules = rules{patterns: []pattern{
		{"general.*", "says what the file is", prefix("general.")},
		{"tokenizer.*", "of the tokenizer, which reads it", prefix("tokenizer.")},
		{"quantize.*, imatrix.*", "how the weights were quantized", prefix("quantize.", "imatrix.")},
		{"split.*", "the parts that the file was in", prefix("split.")},
	}, computes: speaksOfComputing}
)

func harmlessMetadata() map[string]harmless {
	t := map[string]harmless{}
	var always condition
	table(t, "counted in token_embd.weight", always, "vocab_size")
	table(t, "how the first converters ordered rows", always, "tensor_data_layout")
	table(t, "for embeddings of texts", always, "pooling_type")
	table(t, "says that the model was trained so", always, "rope.scaling.finetuned")
	table(t, "nothing extends the context", always, "rope.scaling.original_context_length")
	table(t, "rope.scaling.factor goes before it", beside("rope.scaling.factor"), "rope.scale_linear")
	table(t, "no scaling", is("none", "linear"), "rope.scaling.type")
	table(t, "no scaling", either(is(0, 1), noScaling), "rope.scaling.factor")
	table(t, "a factor of 1", is(0, 1), "logit_scale", "embedding_scale", "residual_scale")
	table(t, "a factor of 1", is(1), "rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor")
	table(t, notHere, is(0, -1), "rope.scaling.yarn_ext_factor")
	table(t, "rope.scaling.type is another", noYarn, "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow")
	table(t, notHere, is(0), "rope.scaling.yarn_log_multiplier", "rope.scaling.alpha", "attention.scale", "attention.max_alibi_bias", "attention.clamp_kqv",
		"attention.output_scale", "attention.value_scale", "attention.temperature_length", "attention.temperature_scale", "attention.shared_kv_layers", "attn_logit_softcapping", "final_logit_softcapping", "router_logit_softcapping")
	table(t, notHere, zeros, "rope.dimension_sections")
	table(t, notHere, off, "use_parallel_residual", "swin_norm", "nextn_predict_layers", "rescale_every_n_layers", "attention.q_lora_rank", "attention.kv_lora_rank")
	table(t, noExperts, off, "expert_count", "expert_used_count", "expert_shared_count", "expert_feed_forward_length", "expert_shared_feed_forward_length", "expert_group_count",
		"expert_group_used_count", "leading_dense_block_count", "expert_gating_func", "expert_weights_norm", "expert_weights_scale", "interleave_moe_layer_step", "moe_every_n_layers")
	table(t, "it is what the model computes", is(true), "attention.causal")
	table(t, "norms are RMSNorm", beside("attention.layer_norm_rms_epsilon"), "attention.layer_norm_epsilon", "attention.group_norm_epsilon")
	table(t, "it covers the context", either(is(0), atLeast("context_length")), "attention.sliding_window")
	return t
}

// noScaling and noYarn hold where rope.scaling.type says so.
var (
	noScaling = condition{"rope.scaling.type none beside it", func(_ any, beside map[string]any) bool { return beside["rope.scaling.type"] == "none" }}
	noYarn    = condition{"another rope.scaling.type than yarn beside it", func(_ any, beside map[string]any) bool { return beside["rope.scaling.type"] != "yarn" }}
)

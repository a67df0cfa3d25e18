package hf

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// published are whole configurations as people have them; what is bulky is shortened.
var published = map[string]string{
	"Gemma-2-9b": `{"architectures":["Gemma2ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"attn_logit_softcapping":50.0,"bos_token_id":2,"cache_implementation":"hybrid",
		"eos_token_id":1,"final_logit_softcapping":30.0,"head_dim":256,"hidden_act":"gelu_pytorch_tanh","hidden_activation":"gelu_pytorch_tanh","hidden_size":3584,
		"initializer_range":0.02,"intermediate_size":14336,"max_position_embeddings":8192,"model_type":"gemma2","num_attention_heads":16,"num_hidden_layers":42,"num_key_value_heads":8,
		"pad_token_id":0,"query_pre_attn_scalar":256,"rms_norm_eps":1e-06,"rope_theta":10000.0,"sliding_window":4096,"sliding_window_size":4096,"torch_dtype":"float32",
		"transformers_version":"4.42.0.dev0","use_cache":true,"vocab_size":256000}`,
	"Hunyuan-7B-Instruct": `{"add_classification_head":false,"architectures":["HunYuanDenseV1ForCausalLM"],"attention_bias":false,"attention_dropout":0.1,"attention_head_dim":128,
		"bos_token_id":1,"cla_share_factor":2,"class_num":0,"dense_list":[4096,0],"eod_token_id":127967,"eos_token_id":127960,"head_dim":128,"hidden_act":"silu","hidden_size":4096,
		"im_end_id":5,"im_newline_id":11,"im_start_id":4,"initializer_range":0.02,"intermediate_size":14336,"mask_init_id":12,"max_position_embeddings":32768,"mlp_bias":false,
		"model_type":"hunyuan_v1_dense","norm_type":"rms","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":8,"org_vocab_size":128167,"pad_id":127961,
		"pad_token_id":127961,"pool_type":"last","pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{"alpha":1000.0,"beta_fast":32,"beta_slow":1,"factor":1.0,"mscale":1.0,
		"mscale_all_dim":1.0,"type":"dynamic"},"rope_theta":10000.0,"sep_token_id":127962,"text_end_id":7,"text_start_id":6,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
		"transformers_version":"4.41.2","use_cache":true,"use_cla":false,"use_qk_norm":true,"use_rotary_pos_emb":true,"vocab_size":128167}`,
	"StableLM-3B with its former keys": `{"architectures":["StableLmForCausalLM"],"bos_token_id":0,"eos_token_id":0,"hidden_act":"silu","hidden_size":2560,"initializer_range":0.02,
		"intermediate_size":6912,"layer_norm_eps":1e-05,"max_position_embeddings":4096,"model_type":"stablelm","norm_eps":1e-05,"num_attention_heads":32,"num_hidden_layers":32,
		"num_key_value_heads":32,"partial_rotary_factor":0.25,"rope_pct":0.25,"rope_theta":10000,"rotary_scaling_factor":1.0,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
		"transformers_version":"4.38.0","use_cache":true,"use_qkv_bias":false,"vocab_size":50304}`,
	"Llama-2-7b": `{"_name_or_path":"meta-llama/Llama-2-7b-hf","architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu",
		"hidden_size":4096,"initializer_range":0.02,"intermediate_size":11008,"max_position_embeddings":4096,"model_type":"llama","num_attention_heads":32,
		"num_hidden_layers":32,"num_key_value_heads":32,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"tie_word_embeddings":false,
		"torch_dtype":"float16","transformers_version":"4.31.0.dev0","use_cache":true,"vocab_size":32000}`,
	"Llama-1": `{"architectures":["LlamaForCausalLM"],"bos_token_id":0,"eos_token_id":1,"hidden_act":"silu","hidden_size":4096,"intermediate_size":11008,
		"initializer_range":0.02,"max_sequence_length":2048,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"pad_token_id":-1,
		"rms_norm_eps":1e-06,"torch_dtype":"float16","transformers_version":"4.27.0.dev0","use_cache":true,"vocab_size":32000}`,
	"Llama-3.2-1B of unsloth": `{"_name_or_path":"unsloth/llama-3.2-1b-instruct","architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
		"bos_token_id":128000,"eos_token_id":128009,"head_dim":64,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,"intermediate_size":8192,
		"max_position_embeddings":131072,"mlp_bias":false,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":16,"num_key_value_heads":8,
		"pad_token_id":128004,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
		"original_max_position_embeddings":8192,"rope_type":"llama3"},"rope_theta":500000.0,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
		"transformers_version":"4.49.0","unsloth_fixed":true,"unsloth_version":"2025.3.3","use_cache":true,"vocab_size":128256}`,
	"SmolLM2": `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":576,
		"initializer_range":0.041666666666666664,"intermediate_size":1536,"is_llama_config":true,"max_position_embeddings":8192,"mlp_bias":false,"model_type":"llama",
		"num_attention_heads":9,"num_hidden_layers":30,"num_key_value_heads":3,"pad_token_id":2,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_interleaved":false,
		"rope_scaling":null,"rope_theta":100000,"tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers.js_config":{"kv_cache_dtype":{"q4f16":"float16"}},
		"transformers_version":"4.42.3","use_cache":true,"vocab_size":49152}`,
	"TinyLlama": `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,
		"intermediate_size":5632,"max_position_embeddings":2048,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":22,"num_key_value_heads":4,"pretraining_tp":1,
		"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":10000.0,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.35.0","use_cache":true,"vocab_size":32000}`,
	"Falcon3": `{"activation":"swiglu","architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"eos_token_id":11,"head_dim":256,"hidden_act":"silu",
		"hidden_size":3072,"initializer_range":0.02,"intermediate_size":9216,"max_position_embeddings":32768,"mlp_bias":false,"model_type":"llama","num_attention_heads":12,
		"num_hidden_layers":22,"num_key_value_heads":4,"pretraining_tp":1,"rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":1000042,"tie_word_embeddings":false,
		"torch_dtype":"bfloat16","transformers_version":"4.46.1","use_cache":true,"vocab_size":131072}`,
	"Yi-1.5": `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,
		"initializer_range":0.02,"intermediate_size":11008,"max_position_embeddings":4096,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":48,"num_key_value_heads":4,
		"pad_token_id":0,"pretraining_tp":1,"rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":5000000.0,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
		"transformers_version":"4.40.0","use_cache":false,"vocab_size":64000}`,
	"Yarn-Llama-2": `{"architectures":["LlamaForCausalLM"],"auto_map":{"AutoConfig":"configuration_llama.LlamaConfig"},"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu",
		"hidden_size":4096,"initializer_range":0.02,"intermediate_size":11008,"max_position_embeddings":131072,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,
		"num_key_value_heads":32,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{"factor":32.0,"finetuned":true,"original_max_position_embeddings":4096,"type":"yarn"},
		"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.31.0","use_cache":true,"vocab_size":32000}`,
	"Mistral-7B-v0.3": `{"architectures":["MistralForCausalLM"],"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,
		"intermediate_size":14336,"max_position_embeddings":32768,"model_type":"mistral","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":8,"rms_norm_eps":1e-05,
		"rope_theta":1000000.0,"sliding_window":null,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.42.0.dev0","use_cache":true,"vocab_size":32768}`,
	"DeepSeek-R1-Distill-Qwen": `{"architectures":["Qwen2ForCausalLM"],"attention_dropout":0.0,"bos_token_id":151643,"eos_token_id":151643,"hidden_act":"silu","hidden_size":1536,
		"initializer_range":0.02,"intermediate_size":8960,"max_position_embeddings":131072,"max_window_layers":21,"model_type":"qwen2","num_attention_heads":12,"num_hidden_layers":28,
		"num_key_value_heads":2,"rms_norm_eps":1e-06,"rope_theta":10000,"sliding_window":4096,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.44.0",
		"use_cache":true,"use_mrope":false,"use_sliding_window":false,"vocab_size":151936}`,
	"DeepSeek-R1-0528-Qwen3": `{"architectures":["Qwen3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":151643,"eos_token_id":151645,"head_dim":128,
		"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":12288,"max_position_embeddings":131072,"max_window_layers":36,"model_type":"qwen3",
		"num_attention_heads":32,"num_hidden_layers":36,"num_key_value_heads":8,"rms_norm_eps":1e-06,"rope_scaling":{"rope_type":"yarn","factor":4.0,
		"original_max_position_embeddings":32768,"attn_factor":0.8782488562869419},"rope_theta":1000000,"sliding_window":null,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
		"transformers_version":"4.51.0","use_cache":true,"use_sliding_window":false,"vocab_size":151936}`,
	"Phi-4-mini": `{"_name_or_path":"Phi-4-mini-instruct","architectures":["Phi3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"auto_map":{"AutoConfig":"configuration_phi3.Phi3Config"},
		"bos_token_id":199999,"embd_pdrop":0.0,"eos_token_id":199999,"full_attn_mod":1,"hidden_act":"silu","hidden_size":3072,"initializer_range":0.02,"intermediate_size":8192,
		"interpolate_factor":1,"lm_head_bias":false,"max_position_embeddings":131072,"mlp_bias":false,"model_type":"phi3","num_attention_heads":24,"num_hidden_layers":32,
		"num_key_value_heads":8,"original_max_position_embeddings":4096,"pad_token_id":199999,"partial_rotary_factor":0.75,"resid_pdrop":0.0,"rms_norm_eps":1e-05,
		"rope_scaling":{"type":"longrope","long_factor":[LIST],"short_factor":[LIST]},"rope_theta":10000.0,"sliding_window":262144,"tie_word_embeddings":true,
		"torch_dtype":"bfloat16","transformers_version":"4.45.0","use_cache":true,"vocab_size":200064}`,
	"Phi-3-mini-4k": `{"_name_or_path":"Phi-3-mini-4k-instruct","architectures":["Phi3ForCausalLM"],"attention_dropout":0.0,"auto_map":{"AutoConfig":"configuration_phi3.Phi3Config"},
		"bos_token_id":1,"embd_pdrop":0.0,"eos_token_id":32000,"hidden_act":"silu","hidden_size":3072,"initializer_range":0.02,"intermediate_size":8192,"max_position_embeddings":4096,
		"model_type":"phi3","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":32,"original_max_position_embeddings":4096,"pad_token_id":32000,"resid_pdrop":0.0,
		"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":10000.0,"sliding_window":2047,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.40.2",
		"use_cache":true,"attention_bias":false,"vocab_size":32064}`,
	"Gemma-3-270m": `{"_sliding_window_pattern":6,"architectures":["Gemma3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"attn_logit_softcapping":null,"bos_token_id":2,
		"eos_token_id":1,"final_logit_softcapping":null,"head_dim":256,"hidden_activation":"gelu_pytorch_tanh","hidden_size":640,"initializer_range":0.02,"intermediate_size":2048,
		"layer_types":["sliding_attention","sliding_attention","sliding_attention","sliding_attention","sliding_attention","full_attention"],"max_position_embeddings":32768,
		"model_type":"gemma3_text","num_attention_heads":4,"num_hidden_layers":6,"num_key_value_heads":1,"pad_token_id":0,"query_pre_attn_scalar":256,"rms_norm_eps":1e-06,
		"rope_local_base_freq":10000.0,"rope_scaling":null,"rope_theta":1000000.0,"sliding_window":512,"torch_dtype":"bfloat16","transformers_version":"4.55.0.dev0",
		"use_bidirectional_attention":false,"use_cache":true,"vocab_size":262144}`,
	"Gemma-3-1b": `{"architectures":["Gemma3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"attn_logit_softcapping":null,"bos_token_id":2,"cache_implementation":"hybrid",
		"eos_token_id":[1,106],"final_logit_softcapping":null,"head_dim":256,"hidden_activation":"gelu_pytorch_tanh","hidden_size":1152,"initializer_range":0.02,"intermediate_size":6912,
		"max_position_embeddings":32768,"model_type":"gemma3_text","num_attention_heads":4,"num_hidden_layers":26,"num_key_value_heads":1,"pad_token_id":0,"query_pre_attn_scalar":256,
		"rms_norm_eps":1e-06,"rope_local_base_freq":10000,"rope_scaling":null,"rope_theta":1000000,"sliding_window":512,"sliding_window_pattern":6,"torch_dtype":"bfloat16",
		"transformers_version":"4.50.0.dev0","use_cache":true,"vocab_size":262144}`,
	"Gemma-3-4b": `{"architectures":["Gemma3ForConditionalGeneration"],"boi_token_index":255999,"eoi_token_index":256000,"eos_token_id":[1,106],"image_token_index":262144,
		"initializer_range":0.02,"mm_tokens_per_image":256,"model_type":"gemma3","text_config":{"hidden_size":2560,"intermediate_size":10240,"model_type":"gemma3_text",
		"num_hidden_layers":34,"rope_scaling":{"factor":8.0,"rope_type":"linear"},"sliding_window":1024},"torch_dtype":"bfloat16","transformers_version":"4.50.0.dev0",
		"vision_config":{"hidden_size":1152,"image_size":896,"intermediate_size":4304,"model_type":"siglip_vision_model","num_attention_heads":16,"num_hidden_layers":27,
		"patch_size":14,"vision_use_head":false}}`,
}

// TestPublishedKeys: of configurations as people have them every key is used or known to be
// harmless.
func TestPublishedKeys(t *testing.T) {
	ones := strings.TrimSuffix(strings.Repeat("1,", 48), ",")
	for name, text := range published {
		t.Run(name, func(t *testing.T) {
			c, err := parse(strings.ReplaceAll(text, "LIST", ones))
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range c.Keys {
				if k.Use != KeyUsed && k.Use != KeyIgnored || k.Use == KeyIgnored && k.Reason == "" {
					t.Errorf("%+v", k)
				}
			}
		})
	}
}

// llamaWith is a small configuration with more keys.
func llamaWith(more string) string {
	return `{"architectures":["LlamaForCausalLM"],"vocab_size":10,"hidden_size":64,"intermediate_size":8,"num_hidden_layers":2,"num_attention_heads":4,"rms_norm_eps":1e-6,` + more + `}`
}

// TestKeys says what becomes of keys that no family reads.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		keys   string
		use    Use // of the first one, unless want is an error
		reason string
	}{
		{`"transformers_version":"4.40"`, KeyIgnored, packaging},
		{`"pretraining_tp":4`, KeyIgnored, "it cuts products into parts that are added up again"},
		{`"some_dropout":0.1`, KeyIgnored, training},
		{`"_attn_implementation_autoset":true`, KeyIgnored, framework},
		{`"vision_config":{"hidden_size":8}`, KeyIgnored, "of parts of the model that see or hear"},
		{`"rope_scaling":null`, KeyUsed, ""},
		{`"attn_temperature":null`, KeyIgnored, "null: not set"},
		{`"num_experts":0`, KeyIgnored, noExperts},
		{`"num_experts":1`, KeyIgnored, noExperts},
		{`"qk_norm":false`, KeyIgnored, notHere},
		{`"sliding_window":4096`, KeyIgnored, "no layer slides"},
		{`"layer_norm_eps":1e-5`, KeyIgnored, "norms are RMSNorm, with rms_norm_eps"},
		{`"favourite_colour":"blue"`, KeyUnknown, ""},
		{`"kv_cache_colour":"blue"`, KeyRefused, "this is not understood for LlamaForCausalLM and may change what the model computes"},
		{`"rope_local_base_freq":10000`, KeyRefused, `rope_local_base_freq: found 10000; this is not`},
		{`"num_experts":8`, KeyRefused, `num_experts: found 8, want 0 or 1;`},
		{`"qk_norm":true`, KeyRefused, `qk_norm: found true, want false, 0 or empty; this is not`},
		{`"residual_multiplier":0.22`, KeyRefused, `residual_multiplier: found 0.22, want 1;`},
		{`"attn_logit_softcapping":50.0`, KeyRefused, `attn_logit_softcapping: found 50.0, want false, 0 or empty;`},
		{`"sliding_window_pattern":6`, KeyRefused, `sliding_window_pattern: found 6, want layer_types beside it or false, 0 or empty;`},
		{`"sliding_window_size":4096,"sliding_window":512`, KeyRefused, `sliding_window_size: found 4096, want the same as sliding_window;`},
		{`"rope_pct":0.25`, KeyRefused, `rope_pct: found 0.25, want 1 or the same as partial_rotary_factor;`},
		{`"parallel_attn":true,"alibi":true`, KeyRefused, `alibi: found true, want false, 0 or empty; parallel_attn: found true, want false, 0 or empty;`},
		{`"parallel_attn":true,"alibi":true`, KeyRefused, `under model, as ignore: [alibi, parallel_attn]`},
		{`"rope_scaling":{"rope_type":"linear","factor":2,"colour":1}`, KeyRefused, `rope_scaling.colour: found 1; this is not understood`},
		{`"rope_scaling":{"rope_type":"yarn","factor":2,"extrapolation_factor":0.5}`, KeyRefused, `rope_scaling.extrapolation_factor: found 0.5, want 1: freq`},
		{`"rope_scaling":{"rope_type":"linear","factor":2,"attn_factor":0.9}`, KeyRefused, `rope_scaling.attn_factor: found 0.9, want 1;`},
		{`"rope_scaling":{"rope_type":"default","factor":2}`, KeyRefused, `rope_scaling.factor: found 2, want 1;`},
		{`"rope_parameters":{"rope_type":"default","rope_theta":1e4,"mrope_section":[8,4,4]}`, KeyRefused, `rope_parameters.mrope_section: found [8,4,4], want false, 0 or empty;`},
	} {
		got, err := parse(llamaWith(c.keys))
		if c.use == KeyRefused {
			wantError(t, err, "config.json: ", c.reason)
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(c.keys, `"`), `"`)
		i := slices.IndexFunc(got.Keys, func(k Key) bool { return k.Name == name })
		if i < 0 || got.Keys[i].Use != c.use || got.Keys[i].Reason != c.reason {
			t.Errorf("%s became %+v, want %s: %s", c.keys, got.Keys, c.use, c.reason)
		}
		if warned := len(got.Warnings()) > 0; warned != (c.use == KeyUnknown) {
			t.Errorf("%s: warnings %q", c.keys, got.Warnings())
		}
	}
}

// TestYarnKeys: what is read of YaRN in more than one way is refused.
func TestYarnKeys(t *testing.T) {
	yarn := func(more string) string {
		return llamaWith(`"max_position_embeddings":512,"rope_scaling":{"type":"yarn","factor":4.0,"original_max_position_embeddings":128,` + more + `}`)
	}
	formula := 1 + 0.1*math.Log(4)
	for keys, want := range map[string]float64{
		`"mscale":1.0`:                       formula,
		`"mscale":0.7,"mscale_all_dim":0.7`:  1,
		`"mscale":1.0,"mscale_all_dim":0.0`:  formula,
		`"attn_factor":1.0`:                  formula,
		`"attn_factor":0.5`:                  formula / 2,
		`"attn_factor":0.5,"mscale":1.0`:     formula / 2,
		`"attention_factor":0.75`:            0.75,
		`"attention_factor":0.75,"mscale":1`: 0.75,
		`"extrapolation_factor":1.0`:         formula,
		`"finetuned":true`:                   formula,
	} {
		c, err := parse(yarn(keys))
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		if _, got, err := c.Rope.InvFreq(c.HeadDim); err != nil || math.Abs(float64(got)-want) > 1e-6 {
			t.Errorf("%s: attention is scaled by %g (%v), want %g", keys, got, err, want)
		}
	}
	for keys, want := range map[string]string{
		`"mscale":0.7`:                                    "rope_scaling.mscale: found 0.7, want 1, or mscale_all_dim beside it",
		`"mscale_all_dim":0.7`:                            "rope_scaling.mscale_all_dim: found 0.7, want mscale beside it",
		`"attn_factor":0`:                                 "rope_scaling.attn_factor: found 0, want a positive number",
		`"attn_factor":0.5,"attention_factor":1`:          "rope_scaling.attn_factor: found 0.5, want none beside attention_factor or mscale",
		`"attn_factor":2,"mscale":1,"mscale_all_dim":0.5`: "rope_scaling.attn_factor: found 2, want none beside attention_factor or mscale",
		`"factor":4.0,"truncate":1`:                       "rope_scaling.truncate: found 1, want true or false",
	} {
		_, err := parse(yarn(keys))
		wantError(t, err, "config.json: "+want)
	}
	// dynamic measures by the configured length, whatever a record says besides
	_, err := parse(llamaWith(`"max_position_embeddings":512,"rope_scaling":{"type":"dynamic","factor":2,"original_max_position_embeddings":128}`))
	wantError(t, err, "rope_scaling.original_max_position_embeddings: found 128, want max_position_embeddings, which is 512")
}

// TestTwoRopeRecords: what transformers wrote before version 5 and since then may stand side by side.
func TestTwoRopeRecords(t *testing.T) {
	const older, newer = `"rope_theta":50000,"rope_scaling":{"type":"linear","factor":2},`, `"rope_parameters":{"rope_type":"linear","factor":%d,"rope_theta":50000}`
	c, err := parse(llamaWith(older + fmt.Sprintf(newer, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if c.Rope.Factor != 2 || c.Rope.Theta != 50000 {
		t.Errorf("read as %+v", c.Rope)
	}
	o, err := parseObject("config.json", []byte(llamaWith(older+`"x":1`)))
	if err != nil {
		t.Fatal(err)
	}
	if o = o.withDefaults(`{"rope_parameters":{"factor":4}}`); o.values["rope_parameters"] != nil {
		t.Error("a default stands beside the older name of the same record")
	}
	_, err = parse(llamaWith(older + fmt.Sprintf(newer, 4)))
	wantError(t, err, "config.json: rope_parameters: found {", "want what rope_scaling says, or one of the two")
}

// TestIgnore: keys that are listed are taken to be absent, in records as outside.
func TestIgnore(t *testing.T) {
	dir := t.TempDir()
	text := llamaWith(`"kv_cache_colour":"blue","rope_scaling":{"type":"yarn","factor":4.0,"original_max_position_embeddings":128,"attn_factor":0.5}`)
	write(t, filepath.Join(dir, ConfigFile), text)
	_, err := LoadConfig(dir)
	wantError(t, err, "as ignore: [kv_cache_colour]")
	c, err := LoadConfig(dir, "kv_cache_colour", "rope_scaling.attn_factor")
	if err != nil {
		t.Fatal(err)
	}
	if c.Rope.AttentionFactor != 0 {
		t.Errorf("attention factor %g, want that of the formula", c.Rope.AttentionFactor)
	}
	var ignored []string
	for _, k := range c.Keys {
		if k.Reason == "listed under model.ignore" {
			ignored = append(ignored, k.Name+" "+k.Value)
		}
	}
	if want := []string{`kv_cache_colour "blue"`, "rope_scaling.attn_factor 0.5"}; !slices.Equal(ignored, want) {
		t.Errorf("ignored %q, want %q", ignored, want)
	}
	copied, err := ConfigText(dir, c.Ignored...)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := parse(string(copied)); err != nil || !reflect.DeepEqual(again.Rope, c.Rope) {
		t.Errorf("the copy is read as %+v: %v", again, err)
	}
	for _, missing := range []string{"colour", "rope_scaling.colour", "vocab_size.x"} {
		_, err = LoadConfig(dir, missing)
		wantError(t, err, fmt.Sprintf("found no key %q, which model.ignore lists", missing))
	}
	_, err = LoadConfig(dir, "vocab_size", "kv_cache_colour")
	wantError(t, err, "vocab_size: found nothing, want a positive integer")
}

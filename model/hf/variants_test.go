package hf

import (
	"math"
	"strings"
	"testing"
)

// Configurations as they were published, but for keys that change nothing.
const (
	smollm3B = `{"architectures":["SmolLM3ForCausalLM"],"attention_bias":false,"bos_token_id":null,"eos_token_id":128012,"hidden_act":"silu",
		"hidden_size":2048,"intermediate_size":11008,"max_position_embeddings":65536,"max_window_layers":28,"mlp_bias":false,"model_type":"smollm3",
		"no_rope_layer_interval":4,%s"num_attention_heads":16,"num_hidden_layers":36,"num_key_value_heads":4,"pad_token_id":128004,
		"rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":5000000.0,"sliding_window":null,"use_sliding_window":false,"vocab_size":128256}`
	granite2B = `{"architectures":["GraniteForCausalLM"],"attention_bias":false,"attention_multiplier":0.015625,"bos_token_id":0,
		"embedding_multiplier":12.0,"eos_token_id":0,"hidden_act":"silu","hidden_size":2048,"intermediate_size":8192,"logits_scaling":8.0,
		"max_position_embeddings":131072,"mlp_bias":false,"model_type":"granite","num_attention_heads":32,"num_hidden_layers":40,
		"num_key_value_heads":8,"pad_token_id":0,"residual_multiplier":0.22,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":10000000.0,
		"tie_word_embeddings":true,"vocab_size":49159}`
	gemma2B = `{"architectures":["GemmaForCausalLM"],"attention_bias":false,"bos_token_id":2,"eos_token_id":1,"head_dim":256,"hidden_act":"gelu",
		"hidden_activation":null,"hidden_size":2048,"intermediate_size":16384,"max_position_embeddings":8192,"model_type":"gemma",
		"num_attention_heads":8,"num_hidden_layers":18,"num_key_value_heads":1,"pad_token_id":0,"rms_norm_eps":1e-06,"rope_theta":10000.0,"vocab_size":256000}`
	gemma2of27B = `{"architectures":["Gemma2ForCausalLM"],"attn_logit_softcapping":50.0,"bos_token_id":2,"cache_implementation":"hybrid",
		"eos_token_id":1,"final_logit_softcapping":30.0,"head_dim":128,"hidden_act":"gelu_pytorch_tanh","hidden_activation":"gelu_pytorch_tanh",
		"hidden_size":4608,"intermediate_size":36864,"max_position_embeddings":8192,"model_type":"gemma2","num_attention_heads":32,
		"num_hidden_layers":46,"num_key_value_heads":16,"pad_token_id":0,"query_pre_attn_scalar":144,"rms_norm_eps":1e-06,
		"rope_theta":10000.0,"sliding_window":4096,"vocab_size":256000}`
	olmo7B = `{"architectures":["Olmo%sForCausalLM"],"attention_bias":false,"eos_token_id":100257,"hidden_act":"silu","hidden_size":4096,
		"intermediate_size":11008,"max_position_embeddings":65536,"num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":32,
		"pad_token_id":100277,"rms_norm_eps":1e-06,"rope_theta":500000,"tie_word_embeddings":false,"vocab_size":100278%s}`
	olmo3Yarn   = `,"sliding_window":4096,"rope_scaling":{"attention_factor":1.2079441541679836,"beta_fast":32,"beta_slow":1,"factor":8.0,"original_max_position_embeddings":8192,"rope_type":"yarn"}`
	olmo3Nested = `,"sliding_window":4096,"rope_parameters":{"full_attention":{"factor":8.0,"original_max_position_embeddings":8192,"rope_theta":500000,"rope_type":"yarn"},
		"sliding_attention":{"rope_theta":500000,"rope_type":"default"}}`
	exaone = `{"architectures":["Exaone4ForCausalLM"],"bos_token_id":1,"eos_token_id":361,"head_dim":%s,"hidden_act":"silu","hidden_size":5120,
		"intermediate_size":27392,"max_position_embeddings":131072,"model_type":"exaone4","num_attention_heads":40,"num_hidden_layers":64,
		"num_key_value_heads":8,"pad_token_id":0,"rms_norm_eps":1e-05,"rope_scaling":{"factor":16.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
		"original_max_position_embeddings":8192,"rope_type":"llama3"},"rope_theta":1000000,"vocab_size":102400,%s}`
	minicpm2B = `{"architectures":["MiniCPMForCausalLM"],"auto_map":{"AutoConfig":"configuration_minicpm.MiniCPMConfig"},"bos_token_id":1,
		"eos_token_id":2,"hidden_act":"silu","hidden_size":2304,"intermediate_size":5760,"max_position_embeddings":4096,"model_type":"minicpm",
		"num_attention_heads":36,"num_hidden_layers":40,"num_key_value_heads":36,"rms_norm_eps":1e-05,"rope_scaling":null,"vocab_size":122753,
		"scale_emb":12,"dim_model_base":256,"scale_depth":1.4}`
	mistralSmall31 = `{"architectures":["Mistral3ForConditionalGeneration"],"image_token_index":10,"model_type":"mistral3","multimodal_projector_bias":false,
		"projector_hidden_act":"gelu","spatial_merge_size":2,"text_config":{"head_dim":128,"hidden_act":"silu","hidden_size":5120,"intermediate_size":32768,
		"max_position_embeddings":131072,"model_type":"mistral","num_attention_heads":32,"num_hidden_layers":40,"num_key_value_heads":8,"rms_norm_eps":1e-05,
		"rope_theta":1000000000.0,"sliding_window":null,"vocab_size":131072},"torch_dtype":"bfloat16","vision_config":{"hidden_size":1024},"vision_feature_layer":-1}`
	ministral38B = `{"architectures":["Mistral3ForConditionalGeneration"],"dtype":"bfloat16","model_type":"mistral3","text_config":{"head_dim":128,"hidden_act":"silu",
		"hidden_size":4096,"intermediate_size":14336,"max_position_embeddings":262144,"model_type":"ministral3","num_attention_heads":32,"num_hidden_layers":34,
		"num_key_value_heads":8,"rms_norm_eps":1e-05,"rope_parameters":{"beta_fast":32.0,"beta_slow":1.0,"factor":16.0,"llama_4_scaling_beta":%s,"mscale":1.0,
		"mscale_all_dim":1.0,"original_max_position_embeddings":16384,"rope_theta":1000000.0,"rope_type":"yarn","type":"yarn"},"sliding_window":null,
		"tie_word_embeddings":false,"vocab_size":131072},"tie_word_embeddings":true,"vision_config":{"hidden_size":1024}}`
)

func fill(text string, parts ...string) string {
	for _, p := range parts {
		text = strings.Replace(text, "%s", p, 1)
	}
	return text
}

func TestPublishedVariants(t *testing.T) {
	close := func(a, b float64) bool { return math.Abs(a/b-1) < 1e-12 }
	everyFourth := func(c *Config) bool {
		for i, not := range c.NoRope {
			if not != (i%4 == 3) {
				return false
			}
		}
		return len(c.NoRope) == c.NumHiddenLayers
	}
	norms := func(c *Config) bool { return c.PostNorms && c.NoInputNorms && c.QKNorm && c.NumHiddenLayers > 0 }
	for name, c := range map[string]struct {
		text  string
		check func(*Config) bool
	}{
		"SmolLM3-3B": {fill(smollm3B, `"no_rope_layers":[`+strings.TrimSuffix(strings.Repeat("1,1,1,0,", 9), ",")+`],`), func(c *Config) bool {
			return everyFourth(c) && c.TieWordEmbeddings && c.Rope.Theta == 5e6 && c.SlidingWindow == 0
		}},
		"SmolLM3 by its interval": {fill(smollm3B, ""), everyFourth},
		"SmolLM3 that slides": {strings.NewReplacer(`"use_sliding_window":false`, `"use_sliding_window":true`, `"sliding_window":null`, `"sliding_window":512`).Replace(fill(smollm3B, "")), func(c *Config) bool {
			return c.SlidingWindow == 512 && c.LayerTypes[2] == FullAttention && c.LayerTypes[3] == SlidingAttention
		}},
		"Granite-3.1-2B": {granite2B, func(c *Config) bool {
			return c.EmbeddingScale == 12 && c.QueryPreAttnScale == 0.015625 && c.ResidualScale == 0.22 && c.LogitScale == 8
		}},
		"Gemma-2B as it was": {gemma2B, func(c *Config) bool {
			return c.HiddenAct == "gelu_pytorch_tanh" && c.NormAddsOne && !c.PostNorms && c.EmbeddingScale == math.Sqrt(2048) && c.TieWordEmbeddings && c.HeadDim == 256
		}},
		"Gemma-2-27B": {gemma2of27B, func(c *Config) bool {
			return c.AttentionSoftcap == 50 && c.FinalLogitSoftcap == 30 && c.QueryPreAttnScale == 1.0/12 && c.PostNorms && !c.NoInputNorms &&
				c.LayerTypes[0] == SlidingAttention && c.LayerTypes[1] == FullAttention && c.SlidingWindow == 4096
		}},
		"Gemma 2 without caps": {strings.NewReplacer("50.0", "null", "30.0", "null").Replace(gemma2of27B), func(c *Config) bool {
			return c.AttentionSoftcap == 0 && c.FinalLogitSoftcap == 0
		}},
		"OLMo-2-7B": {fill(olmo7B, "2", ""), func(c *Config) bool { return norms(c) && c.QKNormWhole && c.SlidingWindow == 0 }},
		"Olmo-3-7B": {fill(olmo7B, "3", olmo3Yarn), func(c *Config) bool {
			return norms(c) && c.QKNormWhole && c.SlidingWindow == 4096 && c.LayerTypes[2] == SlidingAttention && c.LayerTypes[3] == FullAttention &&
				c.Rope.Type == "yarn" && c.RopeLocal.Type == "default" && c.RopeLocal.Theta == 5e5
		}},
		"Olmo-3-7B in newer form": {fill(olmo7B, "3", olmo3Nested), func(c *Config) bool {
			return c.Rope.Type == "yarn" && c.Rope.Factor == 8 && c.RopeLocal.Type == "default" && c.RopeLocal.Theta == 5e5
		}},
		"EXAONE-4.0-32B": {fill(exaone, "128", `"sliding_window":4096,"sliding_window_pattern":"LLLG"`), func(c *Config) bool {
			return norms(c) && !c.QKNormWhole && everyFourth(c) && c.SlidingWindow == 4096 && c.LayerTypes[62] == SlidingAttention && c.LayerTypes[63] == FullAttention
		}},
		"EXAONE-4.0 that does not slide": {fill(exaone, "128", `"sliding_window":null,"sliding_window_pattern":null`), func(c *Config) bool {
			return norms(c) && c.NoRope == nil && c.SlidingWindow == 0 && c.Rope.Type == "llama3"
		}},
		"MiniCPM-2B": {minicpm2B, func(c *Config) bool {
			return c.EmbeddingScale == 12 && close(c.ResidualScale, 1.4/math.Sqrt(40)) && c.LogitScale == 9 && c.TieWordEmbeddings
		}},
		"MiniCPM without scales": {strings.NewReplacer(`"dim_model_base":256`, `"dim_model_base":null`, `1.4`, `null`).Replace(minicpm2B), func(c *Config) bool {
			return c.ResidualScale == 0 && c.LogitScale == 0
		}},
		"Mistral-Small-3.1-24B": {mistralSmall31, func(c *Config) bool {
			return c.Multimodal && c.ModelType == "mistral" && c.SlidingWindow == 0 && c.Rope.Theta == 1e9 && c.ScaledQueriesFrom == 0 && !c.TieWordEmbeddings && c.DType == "bfloat16"
		}},
		"Ministral-3-8B": {fill(ministral38B, "0.1"), func(c *Config) bool {
			return c.Multimodal && c.ModelType == "ministral3" && c.ScaledQueriesFrom == 16384 && c.Rope.Type == "yarn" && !c.TieWordEmbeddings
		}},
		"Ministral 3 without temperature": {fill(ministral38B, "0"), func(c *Config) bool { return c.ScaledQueriesFrom == 0 }},
		"Gemma 3 with a cap":              {fill(gemma3Text, `"final_logit_softcapping":30,`), func(c *Config) bool { return c.FinalLogitSoftcap == 30 }},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if !c.check(got) {
				t.Errorf("read as %+v", *got)
			}
		})
	}
}

func TestVariantErrors(t *testing.T) {
	change := func(text, old, with string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("no %s to replace", old)
		}
		return strings.Replace(text, old, with, 1)
	}
	smollm := fill(smollm3B, "")
	for name, c := range map[string]struct{ text, want string }{
		"few layers":    {fill(smollm3B, `"no_rope_layers":[1,0],`), "config.json: no_rope_layers: found 2, want a list of 1 (with rotary embedding) and 0 (without), one per layer"},
		"no truth":      {fill(smollm3B, `"no_rope_layers":[1,2],`), "config.json: no_rope_layers[1]: found 2, want a list of 1"},
		"interval":      {change(smollm, `interval":4`, `interval":0`), "config.json: no_rope_layer_interval: found 0, want an integer from 1 to"},
		"no residual":   {change(granite2B, "0.22", "0"), "config.json: residual_multiplier: found 0, want a number above 0"},
		"no attention":  {change(granite2B, "0.015625", "0"), "config.json: attention_multiplier: found 0, want a number above 0"},
		"infinite":      {change(granite2B, `"logits_scaling":8.0`, `"logits_scaling":0`), "config.json: logits_scaling: found 0, want a number above 0"},
		"cap":           {change(gemma2of27B, "50.0", "-1"), "config.json: attn_logit_softcapping: found -1, want a number of at least 0"},
		"bidirectional": {change(gemma2B, `"head_dim"`, `"use_bidirectional_attention":true,"head_dim"`), "config.json: use_bidirectional_attention: found true, want false"},
		"pattern":       {fill(exaone, "128", `"sliding_window":4096,"sliding_window_pattern":"LLX"`), `config.json: sliding_window_pattern: found "LLX", want a text of L and G`},
		"pattern kind":  {fill(exaone, "128", `"sliding_window":4096,"sliding_window_pattern":{}`), "config.json: sliding_window_pattern: found {}, want a number of layers"},
		"sparse":        {change(minicpm2B, `"scale_emb"`, `"sparse_config":{"topk":64},"scale_emb"`), `config.json: sparse_config: found {"topk":64}, want null`},
		"experts":       {change(minicpm2B, `"scale_emb"`, `"num_experts":8,"scale_emb"`), "config.json: num_experts: found 8, want 0: its feed-forward layers are mixtures of experts"},
		"text model":    {change(mistralSmall31, `"model_type":"mistral"`, `"model_type":"mistral4"`), `config.json: text_config.model_type: found "mistral4", want one of ministral3, mistral`},
		"no length":     {change(fill(ministral38B, "0.1"), `"rope_type":"yarn"`, `"rope_type":"default"`), "config.json: text_config.rope_parameters.original_max_position_embeddings: found nothing, want the length from which on queries grow"},
		"latent":        {change(minicpm2B, "MiniCPMFor", "MiniCPM3For"), `config.json: architectures: found "MiniCPM3ForCausalLM", want another one: its keys and values are maps of a normed latent vector (multi-head latent attention, MLA)`},
		"mixture":       {change(minicpm2B, "MiniCPMFor", "Qwen3MoeFor"), `config.json: architectures: found "Qwen3MoeForCausalLM", want another one: its feed-forward layers are mixtures of experts`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(c.text)
			WantError(t, err, c.want)
		})
	}
}

package hf

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
)

// parse interprets a config.json given as text.
func parse(text string) (*Config, error) {
	o, err := parseObject("config.json", []byte(text))
	if err != nil {
		return nil, err
	}
	return newConfig(o)
}

// The configurations as published on the Hugging Face hub, shortened to the keys that matter.
const (
	llama32 = `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"bos_token_id":128000,"eos_token_id":[128001,128008,128009],
		"head_dim":64,"hidden_act":"silu","hidden_size":2048,"intermediate_size":8192,"max_position_embeddings":131072,"mlp_bias":false,
		"model_type":"llama","num_attention_heads":32,"num_hidden_layers":16,"num_key_value_heads":8,"rms_norm_eps":1e-05,
		"rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"},
		"rope_theta":500000.0,"tie_word_embeddings":true,"torch_dtype":"bfloat16","vocab_size":128256}`
	mistral7 = `{"architectures":["MistralForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,
		"intermediate_size":14336,"max_position_embeddings":32768,"model_type":"mistral","num_attention_heads":32,"num_hidden_layers":32,
		"num_key_value_heads":8,"rms_norm_eps":1e-05,"rope_theta":10000.0,"sliding_window":4096,"tie_word_embeddings":false,
		"torch_dtype":"bfloat16","vocab_size":32000}`
	qwen25 = `{"architectures":["Qwen2ForCausalLM"],"bos_token_id":151643,"eos_token_id":151645,"hidden_act":"silu","hidden_size":896,
		"intermediate_size":4864,"max_position_embeddings":32768,"max_window_layers":21,"model_type":"qwen2","num_attention_heads":14,
		"num_hidden_layers":24,"num_key_value_heads":2,"rms_norm_eps":1e-06,"rope_theta":1000000.0,"sliding_window":32768,
		"tie_word_embeddings":true,"torch_dtype":"bfloat16","use_sliding_window":false,"vocab_size":151936,
		"rope_scaling":{"factor":4.0,"original_max_position_embeddings":32768,"type":"yarn"}}`
	phi4mini = `{"architectures":["Phi3ForCausalLM"],"bos_token_id":199999,"eos_token_id":199999,"hidden_act":"silu","hidden_size":3072,
		"intermediate_size":8192,"max_position_embeddings":131072,"model_type":"phi3","num_attention_heads":24,"num_hidden_layers":32,
		"num_key_value_heads":8,"original_max_position_embeddings":4096,"pad_token_id":199999,"partial_rotary_factor":0.75,
		"rms_norm_eps":1e-05,"rope_theta":10000.0,"sliding_window":262144,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
		"vocab_size":200064,"rope_scaling":{"type":"longrope","long_factor":[%s],"short_factor":[%s]}}`
	gemma3Text = `{"architectures":["Gemma3ForCausalLM"],"attn_logit_softcapping":null,"bos_token_id":2,"eos_token_id":[1,106],
		"head_dim":256,"hidden_activation":"gelu_pytorch_tanh","hidden_size":1152,"intermediate_size":6912,
		"max_position_embeddings":32768,"model_type":"gemma3_text","num_attention_heads":4,"num_hidden_layers":26,
		"num_key_value_heads":1,"pad_token_id":0,"query_pre_attn_scalar":256,"rms_norm_eps":1e-06,%s
		"sliding_window":512,"torch_dtype":"bfloat16","vocab_size":262144}`
	gemma34B = `{"architectures":["Gemma3ForConditionalGeneration"],"boi_token_index":255999,"eos_token_id":[1,106],"model_type":"gemma3",
		"text_config":{"hidden_size":2560,"intermediate_size":10240,"model_type":"gemma3_text","num_hidden_layers":34,
		"rope_scaling":{"factor":8.0,"rope_type":"linear"},"sliding_window":1024},"torch_dtype":"bfloat16",
		"vision_config":{"hidden_size":1152,"model_type":"siglip_vision_model"}}`
	gemma3Old = `"rope_local_base_freq":10000,"rope_scaling":null,"rope_theta":1000000,"sliding_window_pattern":6,`
	gemma3New = `"rope_parameters":{"full_attention":{"rope_theta":1000000.0,"rope_type":"default"},
		"sliding_attention":{"rope_theta":10000.0,"rope_type":"default"}},`
)

func TestPublishedConfigs(t *testing.T) {
	ones := strings.TrimSuffix(strings.Repeat("1,", 48), ",")
	for name, c := range map[string]struct {
		text  string
		check func(*Config) bool
	}{
		"Llama-3.2-1B": {llama32, func(c *Config) bool {
			return c.HeadDim == 64 && c.TieWordEmbeddings && !c.AttentionBias && slices.Equal(c.EOS, []int{128001, 128008, 128009}) &&
				c.BOS == 128000 && c.Pad == -1 && c.RMSNormEps == 1e-5 && c.DType == "bfloat16" && c.SlidingWindow == 0 &&
				c.Rope.Type == "llama3" && c.Rope.Factor == 32 && c.Rope.OriginalMaxPositionEmbeddings == 8192
		}},
		"Mistral-7B-v0.1": {mistral7, func(c *Config) bool {
			return c.HeadDim == 128 && c.SlidingWindow == 4096 && !slices.Contains(c.LayerTypes, FullAttention) && len(c.LayerTypes) == 32
		}},
		"Qwen2.5-0.5B with YaRN": {qwen25, func(c *Config) bool {
			return c.HeadDim == 64 && c.AttentionBias && !c.AttentionOutputBias && c.SlidingWindow == 0 && !slices.Contains(c.LayerTypes, SlidingAttention) &&
				c.Rope.Type == "yarn" && c.Rope.Factor == 4 && c.Rope.Theta == 1e6
		}},
		"Qwen2 that slides": {strings.NewReplacer(`"use_sliding_window":false`, `"use_sliding_window":true`).Replace(qwen25), func(c *Config) bool {
			return c.SlidingWindow == 32768 && c.LayerTypes[20] == FullAttention && c.LayerTypes[21] == SlidingAttention
		}},
		"Phi-4-mini": {fmt.Sprintf(phi4mini, ones, ones), func(c *Config) bool {
			return c.FusedProjections && c.HeadDim == 128 && c.Rope.PartialRotaryFactor == 0.75 && c.Rope.Type == "longrope" &&
				c.Rope.Factor == 32 && c.Rope.OriginalMaxPositionEmbeddings == 4096 && c.SlidingWindow == 262144
		}},
		"Gemma-3-1B":               {fmt.Sprintf(gemma3Text, gemma3Old), isGemma3},
		"Gemma-3-1B in newer form": {fmt.Sprintf(gemma3Text, gemma3New), isGemma3},
		"Gemma-3-4B": {gemma34B, func(c *Config) bool {
			return c.Multimodal && c.HiddenSize == 2560 && c.VocabSize == 262208 && c.HeadDim == 256 && c.NumAttentionHeads == 8 &&
				slices.Equal(c.EOS, []int{1, 106}) && c.DType == "bfloat16" && c.SlidingWindow == 1024 && c.TieWordEmbeddings &&
				c.Rope.Type == "linear" && c.Rope.Factor == 8 && c.RopeLocal.Type == "default" && c.MaxPositionEmbeddings == 131072
		}},
		"Qwen3 without head_dim": {`{"model_type":"qwen3","vocab_size":10,"hidden_size":4096,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":64,"num_key_value_heads":8}`, func(c *Config) bool {
			return c.Architecture == "Qwen3ForCausalLM" && c.HeadDim == 128 && c.QKNorm && c.MaxPositionEmbeddings == 32768 && len(c.EOS) == 0 && c.BOS == -1
		}},
		"defaults of Llama": {`{"architectures":["LlamaForCausalLM"],"vocab_size":10,"hidden_size":64,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":4,"pad_token_id":-1}`, func(c *Config) bool {
			return c.ModelType == "llama" && c.HeadDim == 16 && c.NumKeyValueHeads == 4 && c.RMSNormEps == 1e-6 && c.Rope.Theta == 10000 &&
				c.Rope.Type == "default" && c.HiddenAct == "silu" && c.MaxPositionEmbeddings == 2048 && slices.Equal(c.EOS, []int{2}) &&
				c.QueryPreAttnScale == 0.25 && c.EmbeddingScale == 1 && !c.TieWordEmbeddings
		}},
		"Llama with biases": {`{"architectures":["LlamaForCausalLM"],"attention_bias":true,"mlp_bias":true,"vocab_size":10,"hidden_size":64,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":4}`, func(c *Config) bool {
			return c.AttentionBias && c.AttentionOutputBias && c.MLPBias
		}},
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

func isGemma3(c *Config) bool {
	return c.HiddenAct == "gelu_pytorch_tanh" && c.TieWordEmbeddings && c.QKNorm && c.NormAddsOne && c.PostNorms &&
		c.QueryPreAttnScale == 1.0/16 && c.EmbeddingScale == math.Sqrt(1152) && c.SlidingWindow == 512 &&
		c.Rope.Theta == 1e6 && c.RopeLocal.Theta == 1e4 && c.RopeLocal.Type == "default" &&
		c.LayerTypes[4] == SlidingAttention && c.LayerTypes[5] == FullAttention && c.LayerTypes[25] == SlidingAttention
}

func TestConfigErrors(t *testing.T) {
	// tiny is a valid configuration with one part replaced.
	tiny := func(old, with string) string {
		text := `{"architectures":["LlamaForCausalLM"],"vocab_size":256,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,"hidden_act":"silu","rms_norm_eps":1e-6,"eos_token_id":2}`
		if !strings.Contains(text, old) {
			t.Fatalf("no %s to replace", old)
		}
		return strings.Replace(text, old, with, 1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":           {"hello", "config.json: line 1: invalid JSON: invalid character 'h'"},
		"cut off":           {"{\n\"a\":", "config.json: line 2: invalid JSON: unexpected EOF"},
		"more":              {"{}{}", "config.json: line 1: found more after the JSON object"},
		"null":              {"null", "config.json: architectures: found nothing, want one of "},
		"architecture":      {tiny("LlamaFor", "BloomFor"), `config.json: architectures: found ["BloomForCausalLM"], want one of `},
		"model type":        {`{"model_type":"bloom"}`, `config.json: model_type: found "bloom", want that of one of `},
		"architecture type": {`{"architectures":"Llama"}`, `config.json: architectures: found "Llama", want a list of texts`},
		"missing":           {tiny(`"hidden_size":64,`, ""), "config.json: hidden_size: found nothing, want a positive integer; is the file complete?"},
		"zero":              {tiny(`"vocab_size":256`, `"vocab_size":0`), "config.json: vocab_size: found 0, want an integer from 1 to"},
		"fraction":          {tiny(`"hidden_size":64`, `"hidden_size":64.5`), "config.json: hidden_size: found 64.5, want an integer"},
		"text":              {tiny(`"hidden_size":64`, `"hidden_size":"64"`), `config.json: hidden_size: found "64", want an integer`},
		"too large":         {tiny(`"hidden_size":64`, `"hidden_size":18446744073709551680`), "config.json: hidden_size: found 18446744073709551680, want an integer"},
		"layers":            {tiny(`"num_hidden_layers":3`, `"num_hidden_layers":100000`), "config.json: num_hidden_layers: found 100000, want at most 16384"},
		"kv heads":          {tiny(`"num_key_value_heads":2`, `"num_key_value_heads":3`), "config.json: num_key_value_heads: found 3, want a divisor of num_attention_heads, which is 4"},
		"heads":             {tiny(`"num_attention_heads":4`, `"num_attention_heads":6`), "config.json: hidden_size: found 64, want a multiple of num_attention_heads, which is 6"},
		"odd head":          {tiny(`"hidden_size":64`, `"head_dim":15,"hidden_size":64`), "config.json: head_dim: found 15, want an even number"},
		"activation":        {tiny(`"silu"`, `"relu"`), `config.json: hidden_act: found "relu", want silu or gelu_pytorch_tanh`},
		"eps":               {tiny(`1e-6`, `1e999`), "config.json: rms_norm_eps: found 1e999, want a number of at least 0"},
		"eos":               {tiny(`"eos_token_id":2`, `"eos_token_id":[2,256]`), "config.json: eos_token_id[1]: found 256, want a token id from 0 to 255 or a list of them"},
		"eos text":          {tiny(`"eos_token_id":2`, `"eos_token_id":"</s>"`), `config.json: eos_token_id: found "\u003c/s\u003e", want a token id from 0 to 255`},
		"bos":               {tiny(`"eos_token_id":2`, `"bos_token_id":-2`), "config.json: bos_token_id: found -2, want an integer from 0 to 255"},
		"tie":               {tiny(`"eos_token_id":2`, `"tie_word_embeddings":1`), "config.json: tie_word_embeddings: found 1, want true or false"},
		"rope object":       {tiny(`"eos_token_id":2`, `"rope_scaling":2`), "config.json: rope_scaling: found 2, want an object"},
		"rope type":         {tiny(`"eos_token_id":2`, `"rope_scaling":{"type":"xpos"}`), `config.json: rope_scaling.rope_type: found "xpos", want one of default, linear, dynamic, llama3, yarn, longrope`},
		"rope factor":       {tiny(`"eos_token_id":2`, `"rope_parameters":{"rope_type":"linear"}`), "config.json: rope_parameters.factor: found 0, want a positive number"},
		"rope list":         {tiny(`"eos_token_id":2`, `"rope_parameters":{"rope_type":"longrope","short_factor":[1,-1]}`), "config.json: rope_parameters.short_factor[1]: found -1, want a list of positive numbers"},
		"rope theta":        {tiny(`"eos_token_id":2`, `"rope_theta":0`), "config.json: rope_theta: found 0, want a number above 1"},
		"layer types":       {tiny(`"eos_token_id":2`, `"layer_types":["full_attention"]`), "config.json: layer_types: found 1, want as many entries as num_hidden_layers, which is 3"},
		"layer type":        {tiny(`"eos_token_id":2`, `"layer_types":["full_attention","linear","linear"]`), `config.json: layer_types[1]: found "linear", want full_attention or sliding_attention`},
		"no window":         {tiny(`"eos_token_id":2`, `"layer_types":["full_attention","sliding_attention","full_attention"]`), "config.json: sliding_window: found nothing, want a window in use"},
		"quantized":         {tiny(`"eos_token_id":2`, `"quantization_config":{"quant_method":"awq"}`), `config.json: quantization_config: found {"quant_method":"awq"}, want none`},
		"softcap":           {fmt.Sprintf(gemma3Text, `"attn_logit_softcapping":30,`), "config.json: attn_logit_softcapping: found 30, want null"},
		"local theta":       {fmt.Sprintf(gemma3Text, `"rope_local_base_freq":0,`), "config.json: rope_local_base_freq: found 0, want a number above 1"},
		"no text model":     {`{"architectures":["Gemma3ForConditionalGeneration"],"text_config":null}`, "config.json: text_config: found nothing, want the text model's values"},
		"text model":        {strings.Replace(gemma34B, "2560", "0", 1), "config.json: text_config.hidden_size: found 0, want an integer from 1 to"},
		"text model type":   {`{"architectures":["Gemma3ForConditionalGeneration"],"text_config":[1]}`, "config.json: text_config: found [1], want an object"},
		"bidirectional":     {fmt.Sprintf(gemma3Text, `"use_bidirectional_attention":true,`), "config.json: use_bidirectional_attention: found true, want false"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(c.text)
			wantError(t, err, c.want)
		})
	}
}

func TestLoadConfigFiles(t *testing.T) {
	dir := t.TempDir()
	_, err := LoadConfig(dir)
	wantError(t, err, filepath.Join(dir, "config.json"), "no such file", "want a folder with config.json or one .gguf file")

	write(t, filepath.Join(dir, "config.json"), `{"model_type":"llama","vocab_size":10,"hidden_size":64,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":4}`)
	write(t, filepath.Join(dir, "generation_config.json"), `{"eos_token_id":[2,5,7]}`)
	c, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.EOS, []int{2, 5, 7}) {
		t.Errorf("EOS %v, want [2 5 7]", c.EOS)
	}

	write(t, filepath.Join(dir, "generation_config.json"), `{"eos_token_id":[2,5.5]}`)
	_, err = LoadConfig(dir)
	wantError(t, err, filepath.Join(dir, "generation_config.json")+": eos_token_id[1]: found 5.5")
	write(t, filepath.Join(dir, "generation_config.json"), "")
	_, err = LoadConfig(dir)
	wantError(t, err, "generation_config.json: line 1: invalid JSON: unexpected EOF")
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestConfigs(t *testing.T) {
	for name, want := range map[string]string{
		"llama":       "LlamaForCausalLM float32 layers 3 heads 4/2x16 tied false default 10000 eos [2] window 0",
		"llama31":     "LlamaForCausalLM bfloat16 layers 3 heads 4/2x32 tied true llama3 500000 eos [2] window 0",
		"mistral":     "MistralForCausalLM float32 layers 3 heads 4/2x16 tied false default 10000 eos [2] window 0",
		"qwen2":       "Qwen2ForCausalLM bfloat16 layers 3 heads 4/2x16 tied true default 1e+06 eos [2] window 0",
		"qwen3":       "Qwen3ForCausalLM float32 layers 3 heads 4/2x32 tied true default 1e+06 eos [2] window 0",
		"demo":        "LlamaForCausalLM bfloat16 layers 8 heads 4/2x64 tied true default 10000 eos [3] window 0",
		"stories260k": "LlamaForCausalLM float32 layers 5 heads 8/4x8 tied true default 10000 eos [2] window 0",
	} {
		c, err := LoadConfig(testfiles.Base(t, name))
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %s layers %d heads %d/%dx%d tied %v %s %g eos %v window %d", c.Architecture, c.DType, c.NumHiddenLayers,
			c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim, c.TieWordEmbeddings, c.Rope.Type, c.Rope.Theta, c.EOS, c.SlidingWindow)
		if got != want {
			t.Errorf("%s: read %s\nwant %s", name, got, want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, text := range []string{llama32, mistral7, qwen25, fmt.Sprintf(phi4mini, "1", "1"), fmt.Sprintf(gemma3Text, gemma3Old), fmt.Sprintf(gemma3Text, gemma3New)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if err != nil {
			return
		}
		if c.NumAttentionHeads%c.NumKeyValueHeads != 0 || c.HeadDim%2 != 0 || len(c.LayerTypes) != c.NumHiddenLayers {
			t.Errorf("accepted %+v", *c)
		}
		if c.HeadDim > 1<<12 {
			return
		}
		for _, rope := range []Rope{c.Rope, c.RopeLocal} {
			if _, _, err := rope.InvFreq(c.HeadDim); err != nil {
				t.Error(err)
			}
		}
	})
}

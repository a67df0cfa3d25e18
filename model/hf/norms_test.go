package hf

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestMoreRopes: alpha stretches theta whatever the length (1e4·1000^(8/6) = 1e8), and
// ntkmixed divides the j-th frequency by exp(a·j^power). The values were computed from the
// formulas in double precision.
func TestMoreRopes(t *testing.T) {
	alpha := Rope{Type: "dynamic", Theta: 10000, Factor: 1, OriginalMaxPositionEmbeddings: 512, Alpha: 1000}
	for _, length := range []int{0, 512, 100000} {
		got, scale, err := alpha.InvFreqAt(8, length)
		if err != nil || scale != 1 {
			t.Fatalf("scale %g, error %v", scale, err)
		}
		wantClose(t, got, []float64{1, 1e-2, 1e-4, 1e-6})
	}
	got, scale, err := Rope{Type: "ntkmixed", Theta: 10000, Factor: 16, Power: 0.5}.InvFreq(8)
	if err != nil || scale != 1 {
		t.Fatalf("scale %g, error %v", scale, err)
	}
	wantClose(t, got, []float64{0.25, 0.014078571632817446, 0.000906152944101932, 0.0000625})
}

// sizes are those that every configuration names.
const sizes = `"vocab_size":64,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"eos_token_id":2`

// TestOtherNorms reads configurations of families that are Llama but for what is checked.
func TestOtherNorms(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		check func(*Config) bool
	}{
		"StableLM": {`{"architectures":["StableLmForCausalLM"],"use_qkv_bias":true,` + sizes + `}`, func(c *Config) bool {
			return c.LayerNorm && c.AttentionBias && !c.AttentionOutputBias && c.Rope.PartialRotaryFactor == 0.25 && c.RMSNormEps == 1e-5
		}},
		"BlueLM-7B": {`{"architectures":["BlueLMForCausalLM"],"model_type":"BlueLM","max_position_embeddings":2048,` + sizes + `}`, func(c *Config) bool {
			return c.EmbeddingNorm && !c.LayerNorm && c.Rope.Type == "default" && c.MaxPositionEmbeddings == 2048
		}},
		"BlueLM-7B-Chat-32K": {`{"model_type":"BlueLM","rope_scaling":{"type":"ntkmixed","factor":16.0,"power":0.3},` + sizes + `}`, func(c *Config) bool {
			return c.Rope.Type == "ntkmixed" && c.Rope.Factor == 16 && c.Rope.Power == 0.3 && c.MaxPositionEmbeddings == 32768
		}},
		"InternLM2": {`{"architectures":["InternLM2ForCausalLM"],"bias":false,"rope_scaling":{"type":"dynamic","factor":2.0},` + sizes + `}`, func(c *Config) bool {
			return c.GroupedQKV && !c.AttentionBias && !c.AttentionOutputBias && c.Rope.Type == "dynamic" && c.Rope.Factor == 2 &&
				c.TensorName("model.layers.11.mlp.up_proj.weight") == "model.layers.11.feed_forward.w3.weight" &&
				c.TensorName("lm_head.weight") == "output.weight" && c.TensorName("model.norm.weight") == "model.norm.weight"
		}},
		"InternLM2's biases": {`{"architectures":["InternLM2ForCausalLM"],` + sizes + `}`, func(c *Config) bool {
			return c.AttentionBias && c.AttentionOutputBias && !c.MLPBias
		}},
		"InternLM3": {`{"architectures":["InternLM3ForCausalLM"],"bias":true,"qkv_bias":false,` + sizes + `}`, func(c *Config) bool {
			return !c.AttentionBias && c.AttentionOutputBias && c.MLPBias
		}},
		"Hunyuan-7B-Instruct": {`{"architectures":["HunYuanDenseV1ForCausalLM"],"head_dim":128,"attention_head_dim":128,"norm_type":"rms","use_cla":false,
			"rope_scaling":{"alpha":1000.0,"beta_fast":32,"beta_slow":1,"factor":1.0,"mscale":1.0,"mscale_all_dim":1.0,"type":"dynamic"},"use_qk_norm":true,` + sizes + `}`, func(c *Config) bool {
			return c.QKNorm && c.QKNormAfterRotary && c.HeadDim == 128 && c.Rope.Alpha == 1000 && c.RMSNormEps == 1e-5 &&
				c.TensorName("model.layers.0.self_attn.q_norm.weight") == "model.layers.0.self_attn.query_layernorm.weight"
		}},
		"HunYuan without norms": {`{"architectures":["HunYuanDenseV1ForCausalLM"],"use_qk_norm":false,` + sizes + `}`, func(c *Config) bool {
			return !c.QKNorm && !c.QKNormAfterRotary && c.Rope.Alpha == 0
		}},
		"ERNIE-4.5-0.3B": {`{"architectures":["Ernie4_5_ForCausalLM"],` + sizes + `}`, func(c *Config) bool {
			return c.Architecture == "Ernie4_5ForCausalLM" && c.InterleavedRotary && c.HeadDim == 128 && c.TieWordEmbeddings && c.Rope.Theta == 500000 && !c.MLPBias
		}},
		"Ernie by its type": {`{"model_type":"ernie4_5","use_bias":true,` + sizes + `}`, func(c *Config) bool {
			return c.Architecture == "Ernie4_5ForCausalLM" && c.AttentionBias && c.AttentionOutputBias && c.MLPBias
		}},
		"Yi": {`{"architectures":["YiForCausalLM"],` + sizes + `}`, func(c *Config) bool {
			return c.Rope.Theta == 5e6 && c.MaxPositionEmbeddings == 4096 && c.TensorName("model.layers.0.input_layernorm.weight") == "model.layers.0.ln1.weight"
		}},
		"Falcon3": {`{"architectures":["LlamaForCausalLM"],"head_dim":256,"rope_theta":1000042,"mlp_bias":false,"max_position_embeddings":32768,` + sizes + `}`, func(c *Config) bool {
			return c.HeadDim == 256 && c.Rope.Theta == 1000042
		}},
		"Phi-4": {`{"architectures":["Phi3ForCausalLM"],"rope_theta":250000,"sliding_window":null,"original_max_position_embeddings":16384,"max_position_embeddings":16384,` + sizes + `}`, func(c *Config) bool {
			return c.FusedProjections && c.SlidingWindow == 0 && c.Rope.Type == "default" && c.Rope.Theta == 250000
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parse(c.text); err != nil || !c.check(got) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestOtherNormErrors refuses what would be computed otherwise.
func TestOtherNormErrors(t *testing.T) {
	for _, c := range []struct{ arch, with, want string }{
		{"StableLmForCausalLM", `"qk_layernorm":true`, "qk_layernorm: found true, want false"},
		{"StableLmForCausalLM", `"use_parallel_residual":true`, "use_parallel_residual: found true, want false"},
		{"HunYuanDenseV1ForCausalLM", `"use_cla":true`, "use_cla: found true, want false"},
		{"HunYuanDenseV1ForCausalLM", `"use_rotary_pos_emb":false`, "use_rotary_pos_emb: found false, want true"},
		{"HunYuanDenseV1ForCausalLM", `"norm_type":"ln"`, `norm_type: found "ln", want rms`},
		{"HunYuanDenseV1ForCausalLM", `"num_experts":8`, "num_experts: found 8, want 1"},
		{"HunYuanDenseV1ForCausalLM", `"attention_head_dim":64`, "attention_head_dim: found 64, want the same as head_dim"},
		{"HunYuanDenseV1ForCausalLM", `"rope_scaling":{"type":"dynamic","factor":1,"alpha":-1}`, "alpha: found -1, want"},
		{"HunYuanDenseV1ForCausalLM", `"head_dim":2,"rope_scaling":{"type":"dynamic","factor":1,"alpha":9}`, "alpha: found 9, want"},
		{"Ernie4_5ForCausalLM", `"compression_ratio":2.0`, "compression_ratio: found 2, want 1"},
		{"BlueLMForCausalLM", `"rope_scaling":{"type":"ntkmixed","factor":16}`, "rope_scaling.power: found 0, want a positive number"},
		{"BlueLMForCausalLM", `"rope_scaling":{"type":"ntkmixed","factor":2.5,"power":1}`, "rope_scaling.factor: found 2.5, want a whole number"},
		{"BlueLMForCausalLM", `"rope_scaling":{"type":"ntkmixed","factor":1e300,"power":1}`, "rope_scaling.factor: found 1e+300, want a whole number"},
		{"BlueLMForCausalLM", `"rope_scaling":{"type":"ntkmixed","power":1}`, "rope_scaling.factor: found 0, want a positive number"},
		{"BlueLMForCausalLM", `"use_stable_embedding":1`, "use_stable_embedding: found 1, want true or false"},
	} {
		t.Run(c.want, func(t *testing.T) {
			_, err := parse(`{"architectures":["` + c.arch + `"],` + c.with + `,` + sizes + `}`)
			wantError(t, err, c.want)
		})
	}
}

// TestGather takes rows in another order, and finds them where they were.
func TestGather(t *testing.T) {
	x := Tensor{DType: DTypeU8, Shape: []int{8, 2}, Data: []byte{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7}}
	order := UnpairedRows(8, 2)
	if want := []int{0, 2, 1, 3, 4, 6, 5, 7}; !slices.Equal(order, want) {
		t.Fatalf("order %v, want %v", order, want)
	}
	got := x.Gather(order)
	if want := []byte{0, 0, 2, 2, 1, 1, 3, 3, 4, 4, 6, 6, 5, 5, 7, 7}; !slices.Equal(got.Data, want) || !slices.Equal(got.Shape, x.Shape) {
		t.Errorf("%v %v, want %v", got.Shape, got.Data, want)
	}
	if part := x.Gather([]int{7}); !slices.Equal(part.Data, []byte{7, 7}) || part.Shape[0] != 1 {
		t.Errorf("one row is %v %v", part.Shape, part.Data)
	}
}

// TestFamilyNames: a name that a family gives a tensor must be of a part that Llama has.
func TestFamilyNames(t *testing.T) {
	parts := slices.Collect(maps.Values(ggufNames))
	parts = append(parts, "self_attn.qkv_proj")
	for arch, f := range families {
		values := `"bos_token_id":1,"pad_token_id":0,` + sizes
		if f.text != "" {
			values = `"` + f.text + `":{` + values + `}`
		}
		c, err := parse(`{"architectures":["` + arch + `"],` + values + `}`)
		if err != nil {
			t.Fatalf("%s (%s): %v", arch, f.modelType, err)
		}
		for part, name := range c.TensorNames {
			if !slices.Contains(parts, part) || strings.HasSuffix(name, ".weight") {
				t.Errorf("%s: %s is called %s, but there is no such part", arch, part, name)
			}
		}
	}
}

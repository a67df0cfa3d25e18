package hf_test

import (
	"maps"
	"math"
	"slices"
	"testing"

	"eisft/model/hf"
	"eisft/model/hf/hftest"
)

// withMetadata is a small model of an architecture of llama.cpp with more metadata. Names
// that begin with a dot are the architecture's.
func withMetadata(arch string, more map[string]any) *hftest.GGUF {
	all := map[string]any{
		"general.architecture": arch, ".embedding_length": uint32(64), ".feed_forward_length": uint32(8), ".block_count": uint32(3),
		".attention.head_count": uint32(4), ".attention.head_count_kv": uint32(2), ".attention.key_length": uint32(16), ".context_length": uint32(512),
		".attention.layer_norm_rms_epsilon": float32(1e-6), ".rope.freq_base": float32(10000),
	}
	maps.Copy(all, more)
	w := &hftest.GGUF{}
	for name, value := range all {
		if name[0] == '.' {
			name = arch + name
		}
		w.Put(name, value)
	}
	w.Tensor("token_embd.weight", 0, []int{1, 1}, make([]byte, 4))
	return w
}

// TestMetadataRefused: metadata of rotary embedding and attention are used or refused by name.
func TestMetadataRefused(t *testing.T) {
	yarn := func(more map[string]any) map[string]any {
		all := map[string]any{".rope.scaling.type": "yarn", ".rope.scaling.factor": float32(4), ".rope.scaling.original_context_length": uint32(128)}
		maps.Copy(all, more)
		return all
	}
	for want, c := range map[string]struct {
		arch string
		more map[string]any
	}{
		"qwen3.rope.scaling.yarn_log_multiplier: found 0.10000000149011612, want 0; this is not":                                    {"qwen3", yarn(map[string]any{".rope.scaling.yarn_log_multiplier": float32(0.1)})},
		"qwen3.rope.scaling.yarn_ext_factor: found 0.5, want 1: frequencies":                                                        {"qwen3", yarn(map[string]any{".rope.scaling.yarn_ext_factor": float32(0.5)})},
		"qwen3.rope.scaling.yarn_beta_fast: found \"32\", want a number":                                                            {"qwen3", yarn(map[string]any{".rope.scaling.yarn_beta_fast": "32"})},
		"qwen3.rope.scaling.attn_factor: found 0.5, want 1":                                                                         {"qwen3", yarn(map[string]any{".rope.scaling.attn_factor": float32(0.5)})},
		"qwen3.rope.scaling.factor: found 0, want a positive number":                                                                {"qwen3", map[string]any{".rope.scaling.type": "yarn"}},
		"qwen3.rope.scaling.yarn_attn_factor: found 0.5, want 1":                                                                    {"qwen3", map[string]any{".rope.scaling.yarn_attn_factor": float32(0.5)}},
		"qwen3.rope.scaling.yarn_attn_factor: found 0.5, want 1.1386 (the factor of YaRN's formula), 0.87825 (its reciprocal) or 1": {"qwen3", yarn(map[string]any{".rope.scaling.yarn_attn_factor": float32(0.5)})},
		"qwen3.rope.scaling.yarn_attn_factor: found 0, want a positive number":                                                      {"qwen3", yarn(map[string]any{".rope.scaling.yarn_attn_factor": float32(0)})},
		"mistral3.rope.scaling.yarn_log_multiplier: found 0.5, want 1":                                                              {"mistral3", yarn(map[string]any{".rope.scaling.yarn_log_multiplier": float32(0.5)})},
		"qwen3.rope.scaling.type: found \"ntk\", want one of default":                                                               {"qwen3", map[string]any{".rope.scaling.type": "ntk", ".rope.scaling.factor": float32(4)}},
		"qwen3.rope.scaling.colour: found 1; this is not understood for Qwen3ForCausalLM":                                           {"qwen3", map[string]any{".rope.scaling.colour": uint32(1)}},
		"llama.rope.scaling.yarn_ext_factor: found 1, want 0 or -1; this is not":                                                    {"llama", map[string]any{".rope.scaling.type": "linear", ".rope.scaling.factor": float32(2), ".rope.scaling.yarn_ext_factor": float32(1)}},
		"gemma3.rope.global.freq_base: found 1000000; this is not":                                                                  {"gemma3", map[string]any{".rope.global.freq_base": float32(1e6)}},
		"qwen3.rope.dimension_sections: found [1,2,3,0], want zeros":                                                                {"qwen3", map[string]any{".rope.dimension_sections": []int32{1, 2, 3, 0}}},
		"qwen3.rope.dimension_count: found 8, want the head size, which is 16":                                                      {"qwen3", map[string]any{".rope.dimension_count": uint32(8)}},
		"qwen3.rope.dimension_count: found \"8\", want an integer":                                                                  {"qwen3", map[string]any{".rope.dimension_count": "8"}},
		"qwen3.rope.dimension_count_swa: found 8, want 16: heads are of one size":                                                   {"qwen3", map[string]any{".rope.dimension_count_swa": uint32(8)}},
		"qwen3.rope.freq_base_swa: found 50000; this is not understood":                                                             {"qwen3", map[string]any{".rope.freq_base_swa": float32(50000)}},
		"qwen3.attention.value_length: found 32, want 16: heads are of one size":                                                    {"qwen3", map[string]any{".attention.value_length": uint32(32)}},
		"qwen3.attention.causal: found false, want true":                                                                            {"qwen3", map[string]any{".attention.causal": false}},
		"qwen3.attention.scale: found 0.5, want 0":                                                                                  {"qwen3", map[string]any{".attention.scale": float32(0.5)}},
		"qwen3.attention.clamp_kqv: found 8, want 0":                                                                                {"qwen3", map[string]any{".attention.clamp_kqv": float32(8)}},
		"qwen3.attention.max_alibi_bias: found 8, want 0":                                                                           {"qwen3", map[string]any{".attention.max_alibi_bias": float32(8)}},
		"qwen3.attention.sliding_window: found 128, want 0 or one of at least context_length":                                       {"qwen3", map[string]any{".attention.sliding_window": uint32(128)}},
		"qwen3.attention.sliding_window_pattern: found 6; this is not":                                                              {"qwen3", map[string]any{".attention.sliding_window_pattern": uint32(6)}},
		"qwen3.final_logit_softcapping: found 30, want 0":                                                                           {"qwen3", map[string]any{".final_logit_softcapping": float32(30)}},
		"qwen3.attn_logit_softcapping: found 50, want 0":                                                                            {"qwen3", map[string]any{".attn_logit_softcapping": float32(50)}},
		"qwen3.leading_dense_block_count: found 8, want false, 0 or empty":                                                          {"qwen3", map[string]any{".leading_dense_block_count": uint32(8)}},
		"llama.logit_scale: found 0.5, want 0 or 1":                                                                                 {"llama", map[string]any{".logit_scale": float32(0.5)}},
		"xielu.alpha_n: found 2; this is not understood for LlamaForCausalLM":                                                       {"llama", map[string]any{"xielu.alpha_n": float32(2)}},
		"llama.attention.head_count: found [4,4,4], want an integer":                                                                {"llama", map[string]any{".attention.head_count": []int32{4, 4, 4}}},
		"gemma3.attention.sliding_window_pattern: found 2, want as many entries as num_hidden_layers, which is 3": {"gemma3", map[string]any{
			".attention.sliding_window": uint32(128), ".attention.sliding_window_pattern": []bool{true, false},
		}},
		"gemma3.rope.freq_base_swa: found 0, want a number above 1": {"gemma3", map[string]any{".attention.sliding_window": uint32(128), ".rope.freq_base_swa": float32(0)}},
	} {
		_, err := hf.LoadConfig(withMetadata(c.arch, c.more).Write(t))
		hf.WantError(t, err, want)
	}
}

// yarn4 is the factor of cosines and sines by YaRN's formula, for a context four times as long.
var yarn4 = 1 + 0.1*math.Log(4)

// TestMetadataRead says how metadata are read.
func TestMetadataRead(t *testing.T) {
	linear := func(c *hf.Config) bool { return c.Rope.Type == "linear" && c.Rope.Factor == 4 }
	slides := func(want string) func(*hf.Config) bool {
		return func(c *hf.Config) bool {
			got := ""
			for _, l := range c.LayerTypes {
				got += string(l[0])
			}
			return got == want
		}
	}
	for name, c := range map[string]struct {
		arch  string
		more  map[string]any
		check func(*hf.Config) bool
	}{
		"linear":           {"qwen3", map[string]any{".rope.scaling.type": "linear", ".rope.scaling.factor": float32(4)}, linear},
		"linear, unsaid":   {"qwen3", map[string]any{".rope.scaling.factor": float32(4)}, linear},
		"linear, old name": {"qwen3", map[string]any{".rope.scale_linear": float32(4)}, linear},
		"linear, both":     {"qwen3", map[string]any{".rope.scaling.factor": float32(4), ".rope.scale_linear": float32(2)}, linear},
		"no factor":        {"qwen3", map[string]any{".rope.scaling.type": "linear", ".rope.scaling.factor": float32(0)}, func(c *hf.Config) bool { return c.Rope.Type == "default" }},
		"yarn": {"qwen3", map[string]any{
			".rope.scaling.type": "yarn", ".rope.scaling.factor": float32(4), ".rope.scaling.yarn_beta_fast": float32(16),
			".rope.scaling.yarn_beta_slow": float32(2), ".rope.scaling.yarn_attn_factor": float32(1 / yarn4), ".rope.scaling.yarn_ext_factor": float32(-1),
		}, func(c *hf.Config) bool {
			r := c.Rope
			return r.Factor == 4 && r.OriginalMaxPositionEmbeddings == 512 && r.BetaFast == 16 && r.BetaSlow == 2 && math.Abs(r.AttentionFactor-1) < 1e-6
		}},
		"yarn, the formula said": {"qwen3", map[string]any{
			".rope.scaling.type": "yarn", ".rope.scaling.factor": float32(4), ".rope.scaling.yarn_attn_factor": float32(yarn4),
		}, func(c *hf.Config) bool { return math.Abs(c.Rope.AttentionFactor-yarn4) < 1e-6 }},
		"yarn, Olmo 3": {"olmo2", map[string]any{
			".rope.scaling.type": "yarn", ".rope.scaling.factor": float32(8), ".rope.scaling.yarn_attn_factor": float32(1.2079441541679836), ".attention.sliding_window": uint32(8),
		}, func(c *hf.Config) bool {
			return math.Abs(c.Rope.AttentionFactor-1.2079441541679836) < 1e-6 && c.RopeLocal.Type == "default"
		}},
		"every layer slides": {"gemma3", map[string]any{".attention.sliding_window": uint32(8), ".attention.sliding_window_pattern": uint32(0)}, slides("sss")},
		"one of two slides":  {"gemma3", map[string]any{".attention.sliding_window": uint32(8), ".attention.sliding_window_pattern": uint32(2)}, slides("sfs")},
		"truths as numbers":  {"gemma3", map[string]any{".attention.sliding_window": uint32(8), ".attention.sliding_window_pattern": []int32{0, 1, 0}}, slides("fsf")},
		"five of six":        {"gemma3", map[string]any{".attention.sliding_window": uint32(8)}, func(c *hf.Config) bool { return slides("sss")(c) && c.RopeLocal.Theta == 10000 }},
		"no window":          {"phi3", map[string]any{".attention.sliding_window": uint32(0)}, slides("fff")},
		"of no consequence": {"llama", map[string]any{
			".vocab_size": uint32(1), ".tensor_data_layout": "Meta AI original pth", ".attention.value_length": uint32(16), ".attention.causal": true,
			".expert_count": uint32(0), ".expert_used_count": uint32(0), ".attention.sliding_window": uint32(4096), ".rope.dimension_count": uint32(16),
			"general.name": "x", "general.file_type": uint32(15), "tokenizer.ggml.pre": "default", "quantize.imatrix.file": "x", "split.count": uint32(1),
		}, func(c *hf.Config) bool { return c.SlidingWindow == 0 && len(c.Warnings()) == 0 }},
		"odd": {"llama", map[string]any{".favourite_colour": "blue"}, func(c *hf.Config) bool {
			return slices.Equal(c.Warnings(), []string{"the model's configuration has keys that are not understood and are ignored: llama.favourite_colour"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := hf.LoadConfig(withMetadata(c.arch, c.more).Write(t))
			if err != nil {
				t.Fatal(err)
			}
			if !c.check(got) {
				t.Errorf("read as %+v", *got)
			}
		})
	}
}

// TestMetadataIgnored: metadata that are listed are taken to be absent.
func TestMetadataIgnored(t *testing.T) {
	path := withMetadata("qwen3", map[string]any{".rope.scaling.type": "yarn", ".rope.scaling.factor": float32(4), ".attention.clamp_kqv": float32(8)}).Write(t)
	c, err := hf.LoadConfig(path, "qwen3.attention.clamp_kqv", "qwen3.rope.scaling.type", "qwen3.rope.scaling.factor")
	if err != nil {
		t.Fatal(err)
	}
	if c.Rope.Type != "default" {
		t.Errorf("rope type %s", c.Rope.Type)
	}
	ck, err := hf.Open(path) // has nothing to do with it
	if err != nil {
		t.Fatal(err)
	}
	defer hf.CloseFile(t, ck)
}

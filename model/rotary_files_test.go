package model_test

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/hf/hftest"
)

// rotaryFile is a GGUF file of the goldens with metadata added or changed.
func rotaryFile(t *testing.T, name string, metadata map[string]any) *hftest.GGUF {
	t.Helper()
	g, err := hf.OpenGGUF(testfiles.Golden(t, "rotary/"+name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	all := map[string]any{}
	for key, value := range g.Metadata {
		switch v := value.(type) {
		case int64:
			all[key] = uint32(v)
		case float64:
			all[key] = float32(v)
		default:
			all[key] = v
		}
	}
	maps.Copy(all, metadata)
	w := &hftest.GGUF{}
	for key, value := range all {
		w.Put(key, value)
	}
	for _, name := range g.Names() {
		x, err := g.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Tensor(name, 0, x.Shape, x.Data)
	}
	return w
}

// rotaryFolder is a GGUF file of the goldens as a folder with the given config.json.
func rotaryFolder(t *testing.T, name, config string) string {
	t.Helper()
	ck, err := hf.Open(testfiles.Golden(t, "rotary/"+name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ck.Close() }()
	var entries []hf.Entry
	for _, name := range ck.Names() {
		x, err := ck.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		values, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, hf.Entry{Name: name, Shape: x.Shape, Data: values})
	}
	dir := t.TempDir()
	if err := hf.WriteFile(filepath.Join(dir, "model.safetensors"), entries, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, hf.ConfigFile), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rotaryLogits reads the goldens' ids.
func rotaryLogits(t *testing.T, path string) []float32 {
	t.Helper()
	b, err := model.LoadBase(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(b, model.FullAttention(13), nil)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int32
	for _, id := range words(t, "rotary/ids.bin") {
		ids = append(ids, int32(id))
	}
	return logitsAfter(t, m, m.NewStream(model.StreamOptions{}), ids)
}

// words reads little-endian words of 32 bits.
func words(t *testing.T, golden string) []uint32 {
	t.Helper()
	b, err := os.ReadFile(testfiles.Golden(t, golden))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]uint32, len(b)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return out
}

func compareRotary(t *testing.T, path, want string) {
	t.Helper()
	var logits []float32
	for _, w := range words(t, "rotary/"+want+".bin") {
		logits = append(logits, math.Float32frombits(w))
	}
	near(t, 1e-4)("logits", rotaryLogits(t, path), logits)
}

// TestRotaryMetadata compares GGUF files whose rotary embeddings differ in their metadata
// alone. yarn-times has theta 10000 and a context of 512 before it was extended.
func TestRotaryMetadata(t *testing.T) {
	yarn := func(more map[string]any) map[string]any {
		m := map[string]any{"qwen3.rope.scaling.type": "yarn", "qwen3.rope.scaling.factor": float32(4), "qwen3.rope.scaling.original_context_length": uint32(128)}
		maps.Copy(m, more)
		return m
	}
	times := map[string]any{
		"qwen3.rope.freq_base": float32(10000), "qwen3.rope.scaling.original_context_length": uint32(512),
		"qwen3.rope.scaling.yarn_attn_factor": float32(0.8782488562869419),
	}
	const pattern = "gemma3.attention.sliding_window_pattern"
	truths := []bool{true, true, true, true, true, false, true}
	for name, c := range map[string]struct {
		file     string
		metadata map[string]any
		want     string
	}{
		"plain":               {"qwen3", nil, "qwen3-plain"},
		"no scaling":          {"qwen3", map[string]any{"qwen3.rope.scaling.type": "none", "qwen3.rope.scaling.factor": float32(4)}, "qwen3-plain"},
		"yarn":                {"qwen3", yarn(nil), "qwen3-yarn"},
		"yarn, defaults said": {"qwen3", yarn(map[string]any{"qwen3.rope.scaling.yarn_beta_fast": float32(32), "qwen3.rope.scaling.yarn_beta_slow": float32(1), "qwen3.rope.scaling.yarn_ext_factor": float32(1), "qwen3.rope.scaling.yarn_attn_factor": float32(1), "qwen3.rope.scaling.yarn_log_multiplier": float32(0), "qwen3.rope.scaling.finetuned": true}), "qwen3-yarn"},
		"yarn with a factor":  {"qwen3", yarn(times), "qwen3-yarn-times"},
		"gemma3":              {"gemma3", nil, "gemma3-plain"},
		"local theta":         {"gemma3", map[string]any{"gemma3.rope.freq_base_swa": float32(50000)}, "gemma3-local"},
		"pattern":             {"gemma3", map[string]any{pattern: uint32(6)}, "gemma3-plain"},
		"pattern in truths":   {"gemma3", map[string]any{pattern: truths}, "gemma3-plain"},
		"no softcap":          {"gemma3", map[string]any{"gemma3.final_logit_softcapping": float32(0)}, "gemma3-plain"},
	} {
		t.Run(name, func(t *testing.T) { compareRotary(t, rotaryFile(t, c.file, c.metadata).Write(t), c.want) })
	}
}

// TestRotaryConfig: attn_factor multiplies the factor of YaRN's formula, which
// attention_factor replaces, in a folder as in a GGUF file.
func TestRotaryConfig(t *testing.T) {
	config := func(rope map[string]any) string {
		rope["rope_type"], rope["factor"], rope["original_max_position_embeddings"] = "yarn", 4.0, 512
		text, err := json.Marshal(map[string]any{
			"architectures": []string{"Qwen3ForCausalLM"}, "model_type": "qwen3", "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96,
			"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24, "rms_norm_eps": 1e-5,
			"max_position_embeddings": 512, "rope_theta": 10000.0, "tie_word_embeddings": false, "rope_scaling": rope,
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, rope := range map[string]map[string]any{
		"attn_factor":      {"attn_factor": 0.8782488562869419},
		"attention_factor": {"attention_factor": 1.0},
		"both agree":       {"attention_factor": 1.0, "attn_factor": 0.8782488562869419},
		"mscale":           {"mscale": 1.0, "mscale_all_dim": 1.0},
	} {
		t.Run(name, func(t *testing.T) { compareRotary(t, rotaryFolder(t, "qwen3", config(rope)), "qwen3-yarn-times") })
	}
}

// TestSoftcapMetadata: the cap of Gemma 3's logits is computed or refused by name.
func TestSoftcapMetadata(t *testing.T) {
	const key = "gemma3.final_logit_softcapping"
	path := rotaryFile(t, "gemma3", map[string]any{key: float32(30)}).Write(t)
	if _, err := model.LoadBase(path); err != nil {
		if !strings.Contains(err.Error(), key+": found 30") {
			t.Error(err)
		}
		return
	}
	var want []float32
	for _, w := range words(t, "rotary/gemma3-plain.bin") {
		want = append(want, float32(30*math.Tanh(float64(math.Float32frombits(w))/30)))
	}
	near(t, 1e-4)("logits", rotaryLogits(t, path), want)
}

// TestRotaryCases reads the inputs that were once computed wrongly, as they are.
func TestRotaryCases(t *testing.T) {
	for _, name := range []string{"gguf-gemma3-plain", "gguf-gemma3-swabase", "gguf-qwen3-plain", "gguf-qwen3-yarn", "gguf-qwen3-yarn-attnfactor", "hf-yarn-attn_factor"} {
		dir := testfiles.Shared(t, "cases/inputs/"+name)
		text, err := os.ReadFile(filepath.Join(dir, "ref.bin"))
		if err != nil {
			t.Fatal(err)
		}
		want := make([]float32, len(text)/4)
		for i := range want {
			want[i] = math.Float32frombits(binary.LittleEndian.Uint32(text[4*i:]))
		}
		near(t, 1e-4)(name, rotaryLogits(t, dir), want)
	}
}

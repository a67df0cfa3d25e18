package model_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
)

// TestMultimodal reads the text model out of a checkpoint of one that sees, under the
// names before and after transformers 4.52, and finds the golden of the text model alone.
func TestMultimodal(t *testing.T) {
	for name := range seeing {
		t.Run(name, func(t *testing.T) { testMultimodal(t, testfiles.Base(t, name)) })
	}
}

// seeing are architecture and model type of models that see, by the golden of their text
// model.
var seeing = map[string][2]string{
	"gemma3":     {"Gemma3ForConditionalGeneration", "gemma3"},
	"ministral3": {"Mistral3ForConditionalGeneration", "mistral3"},
}

func testMultimodal(t *testing.T, alone string) {
	for name, rename := range map[string]func(string) string{
		"language_model.model": func(name string) string { return "language_model." + name },
		"none":                 func(name string) string { return name },
		"model.language_model": func(name string) string { return strings.Replace(name, "model.", "model.language_model.", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := multimodal(t, alone, rename)
			b, err := model.LoadBase(dir)
			if err != nil {
				t.Fatal(err)
			}
			golden, err := os.ReadFile(filepath.Join(alone, "golden.safetensors"))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "golden.safetensors"), golden, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			compareFamily(t, dir, b, near(t, 1e-4))
		})
	}
}

// multimodal puts a text model into a folder as a part of a multimodal one.
func multimodal(t *testing.T, alone string, rename func(string) string) string {
	t.Helper()
	dir := rewritten(t, alone, func(entries []hf.Entry) []hf.Entry {
		for i := range entries {
			entries[i].Name = rename(entries[i].Name)
		}
		if rename("model.") == "model." {
			return entries
		}
		vision := []float32{1, 2}
		return append(
			entries,
			hf.Entry{Name: "vision_tower.vision_model.post_layernorm.weight", Shape: []int{2}, Data: vision},
			hf.Entry{Name: "model.vision_tower.vision_model.post_layernorm.bias", Shape: []int{2}, Data: vision},
			hf.Entry{Name: "multi_modal_projector.mm_soft_emb_norm.weight", Shape: []int{2}, Data: vision},
		)
	})
	text, err := os.ReadFile(filepath.Join(alone, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	see := seeing[filepath.Base(alone)]
	config, err := json.Marshal(map[string]any{
		"architectures": []string{see[0]}, "model_type": see[1],
		"text_config": json.RawMessage(text), "vision_config": map[string]any{"hidden_size": 2},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestMultimodalErrors: a text model that is not whole is refused, by the names of its files.
func TestMultimodalErrors(t *testing.T) {
	_, err := model.LoadBase(multimodal(t, testfiles.Base(t, "gemma3"), func(name string) string {
		return "language_model." + strings.Replace(name, "layers.2.mlp.up_proj", "layers.2.mlp.upper", 1)
	}))
	if want := "tensor language_model.model.layers.2.mlp.up_proj.weight is not in the checkpoint"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestPrefixes reads each family from checkpoints whose names begin as those of other
// programs, beside a tower that sees, and finds the same logits.
func TestPrefixes(t *testing.T) {
	for _, family := range append(slices.Clone(families), "demo") {
		dir := testfiles.Base(t, family)
		want := logitsOf(t, dir)
		for _, to := range [][2]string{
			{"", "lm_head"},
			{"language_model.", "lm_head"},
			{"language_model.", "language_model.lm_head"},
			{"language_model.model.", "language_model.lm_head"},
			{"model.language_model.", "lm_head"},
		} {
			t.Run(family+" "+to[0]+" "+to[1], func(t *testing.T) {
				other := rewritten(t, dir, func(entries []hf.Entry) []hf.Entry {
					for i, e := range entries {
						if rest, ok := strings.CutPrefix(e.Name, "model."); ok {
							entries[i].Name = to[0] + rest
						} else if rest, ok := strings.CutPrefix(e.Name, "lm_head"); ok {
							entries[i].Name = to[1] + rest
						}
					}
					return append(entries, hf.Entry{Name: "vision_tower.layers.0.w", Shape: []int{1}, Data: []float32{1}})
				})
				near(t, 1e-4)("logits", logitsOf(t, other), want) // with a library, where weights lie changes the last bits
			})
		}
	}
}

// TestBeside: what stands beside the text model is said once, by name and number, and a
// tensor of the decoder that has no place is refused though no index lists it.
func TestBeside(t *testing.T) {
	dir := testfiles.Base(t, "qwen2")
	with := func(names ...string) string {
		return rewritten(t, dir, func(entries []hf.Entry) []hf.Entry {
			for _, name := range names {
				entries = append(entries, hf.Entry{Name: name, Shape: []int{1}, Data: []float32{1}})
			}
			return entries
		})
	}
	b, err := model.LoadBase(with("visual.a", "visual.b", "model.vision_tower.c", "score.weight", "model.rotary_emb.inv_freq"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"tensors beside the text model are not read: score (1), vision_tower (1), visual (2)"}
	m, err := model.New(b, model.FullAttention(8), nil)
	if err != nil || !slices.Equal(m.Warnings(), want) {
		t.Errorf("warnings %q (%v), want %q", m.Warnings(), err, want)
	}
	stray := with("model.layers.0.self_attn.q_norm.weight")
	index := filepath.Join(stray, "model.safetensors.index.json")
	if err := os.WriteFile(index, []byte(`{"weight_map":{"model.norm.weight":"model.safetensors"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = model.LoadBase(stray)
	if want := "tensor model.layers.0.self_attn.q_norm.weight has no place in a Qwen2ForCausalLM"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if _, err := model.LoadBase(with("lm_head.bias")); err == nil || !strings.Contains(err.Error(), "tensor lm_head.bias has no place") {
		t.Errorf("head with a bias: %v", err)
	}
}

// TestHeads: a head of its own beside tie_word_embeddings: true is read if it differs from
// the embedding, and one that is missing is not made up.
func TestHeads(t *testing.T) {
	tied, untied := testfiles.Base(t, "qwen2"), testfiles.Base(t, "llama")
	head := func(change float32) func(entries []hf.Entry) []hf.Entry {
		return func(entries []hf.Entry) []hf.Entry {
			for _, e := range entries {
				if e.Name == "model.embed_tokens.weight" {
					data := slices.Clone(e.Data.([]float32))
					data[len(data)-1] += change
					entries = append(entries, hf.Entry{Name: "lm_head.weight", Shape: e.Shape, Data: data})
				}
			}
			return entries
		}
	}
	for _, tc := range []struct {
		change  float32
		shared  bool
		warning string
	}{
		{0, true, ""},
		{1, false, "the checkpoint has a lm_head.weight that differs from model.embed_tokens.weight, and is read, as transformers 5 does, though tie_word_embeddings is true in config.json or by default (transformers 4 reads the embedding in its place): write tie_word_embeddings: false into config.json, or remove the tensor"},
	} {
		b, err := model.LoadBase(rewritten(t, tied, head(tc.change)))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(b.Warnings, "\n"); (b.Head == b.Embed) != tc.shared || got != tc.warning {
			t.Errorf("changed by %g: shared %v, warning %q", tc.change, b.Head == b.Embed, got)
		}
	}
	_, err := model.LoadBase(rewritten(t, untied, func(entries []hf.Entry) []hf.Entry {
		return slices.DeleteFunc(entries, func(e hf.Entry) bool { return e.Name == "lm_head.weight" })
	}))
	want := ": tensor lm_head.weight is not in the checkpoint, but tie_word_embeddings is false in config.json or by the default of a LlamaForCausalLM: write tie_word_embeddings: true into config.json if the model was trained with one table for both, otherwise download the model again"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// rewritten copies a model's folder, with other tensors.
func rewritten(t *testing.T, from string, change func([]hf.Entry) []hf.Entry) string {
	t.Helper()
	ck, err := hf.Open(from)
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
		data, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, hf.Entry{Name: name, Shape: x.Shape, Data: data})
	}
	dir := t.TempDir()
	if err := hf.WriteFile(filepath.Join(dir, "model.safetensors"), change(entries), nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// logitsOf reads a few tokens with a model and returns the logits behind the last.
func logitsOf(t *testing.T, dir string) []float32 {
	t.Helper()
	b, err := model.LoadBase(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(b, model.FullAttention(8), nil)
	if err != nil {
		t.Fatal(err)
	}
	logits, err := m.NewStream(model.StreamOptions{}).Read(t.Context(), []int32{1, 5, 9, 33, 2, 17, 60, 7, 8, 11}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(logits)
}

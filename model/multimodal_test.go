package model_test

import (
	"encoding/json"
	"os"
	"path/filepath"
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
	ck, err := hf.Open(alone)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ck.Close() }()
	var entries []hf.Entry
	if vision := []float32{1, 2}; rename("model.") != "model." {
		entries = []hf.Entry{
			{Name: "vision_tower.vision_model.post_layernorm.weight", Shape: []int{2}, Data: vision},
			{Name: "model.vision_tower.vision_model.post_layernorm.bias", Shape: []int{2}, Data: vision},
			{Name: "multi_modal_projector.mm_soft_emb_norm.weight", Shape: []int{2}, Data: vision},
		}
	}
	for _, name := range ck.Names() {
		x, err := ck.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, hf.Entry{Name: rename(name), Shape: x.Shape, Data: data})
	}
	dir := t.TempDir()
	if err := hf.WriteFile(filepath.Join(dir, "model.safetensors"), entries, nil); err != nil {
		t.Fatal(err)
	}
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

// TestMultimodalErrors: a text model that is not whole is refused.
func TestMultimodalErrors(t *testing.T) {
	_, err := model.LoadBase(multimodal(t, testfiles.Base(t, "gemma3"), func(name string) string {
		return "language_model." + strings.Replace(name, "layers.2.mlp.up_proj", "layers.2.mlp.upper", 1)
	}))
	if want := "tensor language_model.model.layers.2.mlp.up_proj.weight is not in the checkpoint"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/hf/hftest"
)

// TestFamiliesFromGGUF reads families out of GGUF files and finds what the folders give
// that these were made of. Gemma's have their norms with 1 added and leave scale, and
// Gemma 3's pattern and local frequencies, to the architecture.
func TestFamiliesFromGGUF(t *testing.T) {
	for family, said := range map[string]*strings.Replacer{
		"phi3":   strings.NewReplacer(),
		"gemma3": strings.NewReplacer(`"query_pre_attn_scalar": 24`, `"query_pre_attn_scalar": 16`, `"sliding_window_pattern": 2`, `"sliding_window_pattern": 6`),

		"gemma": strings.NewReplacer(), "granite": strings.NewReplacer(), "smollm3": strings.NewReplacer(), "olmo2": strings.NewReplacer(),
		"olmo3": strings.NewReplacer(), "exaone4": strings.NewReplacer(), "minicpm": strings.NewReplacer(), "ministral3": strings.NewReplacer(),
		"gemma2": strings.NewReplacer(`"query_pre_attn_scalar": 9`, `"query_pre_attn_scalar": 12`),
	} {
		t.Run(family, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(testfiles.Base(t, family))); err != nil {
				t.Fatal(err)
			}
			config := filepath.Join(dir, hf.ConfigFile)
			text, err := os.ReadFile(config)
			if err == nil {
				err = os.WriteFile(config, []byte(said.Replace(string(text))), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			compareWithGGUF(t, dir)
		})
	}
}

// compareWithGGUF compares the logits of a folder with those of a GGUF file made of it.
func compareWithGGUF(t *testing.T, dir string) {
	t.Helper()
	c, err := hf.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := hf.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ck.Close() }()
	want, err := model.LoadBase(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := model.LoadBase(hftest.Convert(t, c, ck, nil).Write(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Layers {
		if a, b := got.Layers[i].Rotary, want.Layers[i].Rotary; a.Limit != b.Limit || a.Scale != b.Scale {
			t.Errorf("layer %d: rotary embedding with scale %g up to %d, want %g up to %d", i, a.Scale, a.Limit, b.Scale, b.Limit)
		}
	}
	if a, b := got.Identity(), want.Identity(); a != b && c.Rope.Type != "yarn" { // whose values files leave out
		t.Errorf("identity %s, want %s", a, b)
	}
	_, ids := openTensors(t, filepath.Join(dir, "golden.safetensors"))
	logits := func(b *model.Base) []float32 {
		m, err := model.New(b, model.FullAttention(13), nil)
		if err != nil {
			t.Fatal(err)
		}
		return logitsAfter(t, m, m.NewStream(model.StreamOptions{}), ids("input_ids"))
	}
	near(t, 1e-5)("logits", logits(got), logits(want))
}

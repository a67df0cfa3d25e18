package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/hf/hftest"
)

// TestGemma3GGUF reads Gemma 3 out of a GGUF file, which has its norms with 1 added and
// leaves pattern, local frequencies and scale to the architecture, and finds what the
// folder gives that it was made of.
func TestGemma3GGUF(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(ourFamily(t, "gemma3"))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, hf.ConfigFile)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	said := strings.NewReplacer(`"query_pre_attn_scalar": 24`, `"query_pre_attn_scalar": 16`, `"sliding_window_pattern": 2`, `"sliding_window_pattern": 6`)
	if err := os.WriteFile(config, []byte(said.Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
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

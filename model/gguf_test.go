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

// TestMoreFamiliesFromGGUF reads families whose tensors and metadata llama.cpp's converter
// names or orders in other ways: LayerNorm, norms after rotary embedding with theta raised
// by alpha, rows for neighbours that turn, and q, k and v taken apart.
func TestMoreFamiliesFromGGUF(t *testing.T) {
	for _, family := range []string{"stablelm", "hunyuan", "ernie4_5"} {
		t.Run(family, func(t *testing.T) { compareWithGGUF(t, testfiles.Base(t, family)) })
	}
	t.Run("internlm2", func(t *testing.T) { compareWithGGUF(t, withoutBiases(t, testfiles.Base(t, "internlm2"))) })
}

// withoutBiases copies InternLM2's golden without its biases, which llama.cpp's converter
// cannot read, and without the dynamic rotary scaling beyond the original length, which it
// leaves out.
func withoutBiases(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	ck, err := hf.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ck.Close() }()
	var entries []hf.Entry
	for _, name := range ck.Names() {
		if strings.HasSuffix(name, ".bias") {
			continue
		}
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
	if err := hf.WriteFile(filepath.Join(dir, "model.safetensors"), entries, nil); err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string]*strings.Replacer{
		hf.ConfigFile: strings.NewReplacer(`"bias": true`, `"bias": false`, `"dynamic"`, `"default"`, `"factor": 2.0`, `"factor": 1.0`), "golden.safetensors": strings.NewReplacer(),
	} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(replace.Replace(string(text))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
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
	if a, b := got.Identity(), want.Identity(); a != b && c.Rope.Type != "yarn" && c.Rope.Alpha == 0 { // whose values files leave out, or have in theta
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

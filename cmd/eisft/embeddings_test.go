package main

import (
	"path/filepath"
	"slices"
	"testing"

	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/quant"
	"eisft/train/runs"
)

// TestSlowInt8Embeddings: a quantized model is exported with rows of int8, its graphs pass, and the
// tokens that they write are those of the Go model with these codes and rows.
func TestSlowInt8Embeddings(t *testing.T) {
	testfiles.Slow(t)
	orttest.Require(t)
	runFolder(t)
	wantOutput(t, "", "quantize", "--calib", "train.jsonl", "--samples", "2", "--eval-samples", "1")
	wantOutput(t, "", "export", "--shape", "32x84", "--embeddings", "int8", "--quantized-only")
	out := filepath.Join(latestRun, "export", "32x84")
	info, err := manifest.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Verification) != 1 || !info.Verification[0].Passed() {
		t.Errorf("verification: %+v", info.Verification)
	}
	wantOutput(t, "", "run", "--graph", out, "--golden")
	text, question, _ := goldenPrompt(t)
	wantOutput(t, " tokens/s, of ", "run", "--graph", out, "--prompt", text+"\n\n"+question, "--max-new-tokens", "4")

	run, err := runs.Open(latestRun)
	if err != nil {
		t.Fatal(err)
	}
	q, err := quant.Load(filepath.Join(latestRun, "quant", "w8a16"))
	if err != nil {
		t.Fatal(err)
	}
	m, wrap, err := quant.Apply(run.Model, q)
	if err != nil {
		t.Fatal(err)
	}
	read, n, d, err := host.Embeddings(out, info.EmbeddingsOf("w8a16"))
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]float32, n*d)
	read(rows, 0, n)
	if float := m.Base.Embed.Weight(); slices.Equal(rows, float) {
		t.Error("the rows are not rounded")
	}
	base := *m.Base
	base.Embed = model.NewLinear(base.Embed.Name, d, n, rows, nil)
	if m, err = model.New(&base, m.Spec, m.Params); err != nil {
		t.Fatal(err)
	}
	o := model.GenerateOptions{MaxNewTokens: 12}
	ids := run.Tokenizer.Encode(text+"\n\n"+question, false)
	st := m.NewStream(model.StreamOptions{Wrap: wrap})
	next, err := st.Read(t.Context(), ids, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := st.Generate(t.Context(), next, o)
	if err != nil {
		t.Fatal(err)
	}
	graphs, err := host.Open(out, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer graphs.Close()
	exported, err := graphs.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer exported.Close()
	if next, err = exported.Read(t.Context(), ids, nil); err != nil {
		t.Fatal(err)
	}
	got, err := exported.Generate(t.Context(), next, o)
	if err != nil || len(got) != o.MaxNewTokens || !slices.Equal(got, want) {
		t.Errorf("the graphs write %v (%v), the Go model %v", got, err, want)
	}
}

package model_test

import (
	"slices"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
)

// benchModels are the demo base with the default block and with full attention.
func benchModels(b *testing.B) map[string]*model.Model {
	b.Helper()
	dir := testfiles.Repository(b, "model/demo")
	return map[string]*model.Model{
		"eisft": modeltest.Open(b, dir, modeltest.DefaultBlock(b)),
		"full":  modeltest.Open(b, dir, model.FullAttention(256)),
	}
}

// benchPrompt is the golden prompt, repeated to n tokens.
func benchPrompt(b *testing.B, n int) []int32 {
	b.Helper()
	_, ids := openGolden(b, "demo/golden.safetensors")
	prompt := ids("input_ids")
	for len(prompt) < n {
		prompt = append(prompt, prompt...)
	}
	return prompt[:n]
}

// BenchmarkStream reads 2,048 tokens.
func BenchmarkStream(b *testing.B) {
	prompt := benchPrompt(b, 2048)
	for name, m := range benchModels(b) {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				if err := m.NewStream(model.StreamOptions{}).Feed(b.Context(), prompt, 0, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(prompt)*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// BenchmarkGenerate writes 64 tokens, one by one, after 1,024.
func BenchmarkGenerate(b *testing.B) {
	const written = 64
	prompt := benchPrompt(b, 1024)
	for name, m := range benchModels(b) {
		b.Run(name, func(b *testing.B) {
			st := m.NewStream(model.StreamOptions{})
			next, err := st.Read(b.Context(), prompt, nil)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := st.Clone().Generate(b.Context(), slices.Clone(next), model.GenerateOptions{MaxNewTokens: written}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(written*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// BenchmarkSegment reads on, segment by segment, where the state is full: what
// it allocates then would grow with the input.
func BenchmarkSegment(b *testing.B) {
	m := benchModels(b)["eisft"]
	prompt, st := benchPrompt(b, 2048), m.NewStream(model.StreamOptions{})
	if err := st.Feed(b.Context(), prompt, 0, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := st.Feed(b.Context(), prompt[:m.Spec.Segment], 0, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(m.Spec.Segment*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

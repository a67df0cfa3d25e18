package model_test

import (
	"testing"

	"eisft/data/sharedtest"
	"eisft/model"
)

// BenchmarkStream reads the golden prompt, repeated to 2,048 tokens, with the
// default block, and with full attention.
func BenchmarkStream(b *testing.B) {
	_, ids := openGolden(b, "golden/demo/golden.safetensors")
	prompt := ids("input_ids")
	for len(prompt) < 2048 {
		prompt = append(prompt, prompt...)
	}
	prompt = prompt[:2048]
	base, err := model.LoadBase(sharedtest.Path(b, "demo/base"))
	if err != nil {
		b.Fatal(err)
	}
	preset, err := model.Preset("eisft")
	if err != nil {
		b.Fatal(err)
	}
	for name, spec := range map[string]model.Spec{"eisft": preset, "full": model.FullAttention(256)} {
		m, err := model.New(base, spec, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for range b.N {
				if err := m.NewStream(model.StreamOptions{}).Feed(b.Context(), prompt, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(prompt)*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

package plan_test

import (
	"path/filepath"
	"testing"

	"eisft/export"
	"eisft/export/host"
	"eisft/export/ort/orttest"
	"eisft/export/plan"
	"eisft/model/modeltest"
)

// BenchmarkPredictions measures this machine, predicts for it, and runs the exported graphs, all on
// one thread and by the time that it computes. It reports predicted over measured times.
func BenchmarkPredictions(b *testing.B) {
	orttest.Require(b)
	m := modeltest.Open(b, filepath.Join("..", "..", "model", "demo"), modeltest.DefaultBlock(b))
	sizes := []export.Size{{Tokens: 256, Cache: 1032}, {Tokens: 512, Cache: 2048}}
	dir := filepath.Join(b.TempDir(), "graphs")
	if _, _, err := export.Export(b.Context(), m, dir, export.Options{Sizes: sizes, NoVerify: true, NoGolden: true}); err != nil {
		b.Fatal(err)
	}
	for _, size := range sizes {
		b.Run(size.String(), func(b *testing.B) {
			predicted, measured := map[string]float64{}, map[string]float64{}
			for b.Loop() {
				d, err := plan.MeasureThread(b.Context(), b)
				if err != nil {
					b.Fatal(err)
				}
				p, err := plan.New(m, d, plan.Options{Sizes: []export.Size{size}})
				if err != nil {
					b.Fatal(err)
				}
				c := p.Candidates[0]
				run := measure(b, dir, size)
				measured[firstAt2k] += run.FirstToken[0]
				measured[firstAt8k] += run.FirstToken[1]
				measured[aToken] += 1 / run.Tokens
				predicted[firstAt2k] += c.FirstToken[0]
				predicted[firstAt8k] += c.FirstToken[1]
				predicted[aToken] += 1 / c.Tokens
			}
			for what, seconds := range measured {
				b.ReportMetric(predicted[what]/seconds, "predicted/measured-"+what)
			}
		})
	}
}

// What is predicted and measured.
const firstAt2k, firstAt8k, aToken = "2k", "8k", "token"

// measure reads 2,048 and 8,192 tokens with exported graphs, and generates.
func measure(t testing.TB, dir string, size export.Size) *plan.Speed {
	t.Helper()
	loaded, err := host.Open(dir, host.Options{Shape: size.String(), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	s, err := plan.MeasureSpeed(t.Context(), loaded, plan.PromptLengths[:2], plan.CPUTime, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

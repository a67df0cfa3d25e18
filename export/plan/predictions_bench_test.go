package plan_test

import (
	"math/rand/v2"
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
				for _, run := range measure(b, dir, size) {
					measured[run.what] += run.seconds
				}
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

// timed is how long something took.
type timed struct {
	what    string
	seconds float64
}

// measure reads 2,048 and 8,192 tokens with exported graphs, and generates.
func measure(t testing.TB, dir string, size export.Size) []timed {
	t.Helper()
	loaded, err := host.Open(dir, host.Options{Shape: size.String(), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	st, err := loaded.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	random := rand.New(rand.NewPCG(1, 2))
	feed := func(n int) float64 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = random.Int32N(int32(st.Vocabulary()))
		}
		begun := plan.CPUTime()
		if _, err := st.Read(t.Context(), ids, nil); err != nil {
			t.Fatal(err)
		}
		return (plan.CPUTime() - begun).Seconds()
	}
	short := feed(2048)
	long := short + feed(8192-2048)
	const answer = 64
	seconds := 0.0
	for range answer {
		seconds += feed(1)
	}
	return []timed{{firstAt2k, short}, {firstAt8k, long}, {aToken, seconds / answer}}
}

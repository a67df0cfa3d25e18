package plan_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"eisft/export"
	"eisft/export/host"
	"eisft/export/ort/orttest"
	"eisft/export/plan"
	"eisft/internal/testfiles"
	"eisft/model/modeltest"
)

// TestSlowPredictionsAreMeasured holds predictions for this machine to runs of exported graphs, both
// on one thread and by the time that it computes, so that other programs do not matter. What it
// prints is in docs/graphs.md.
func TestSlowPredictionsAreMeasured(t *testing.T) {
	testfiles.Slow(t)
	orttest.Require(t)
	m := modeltest.Open(t, filepath.Join("..", "..", "model", "demo"), modeltest.DefaultBlock(t))
	sizes := []export.Size{{Tokens: 256, Cache: 1032}, {Tokens: 512, Cache: 2048}}
	dir := filepath.Join(t.TempDir(), "graphs")
	if _, _, err := export.Export(t.Context(), m, dir, export.Options{Sizes: sizes, NoVerify: true, NoGolden: true}); err != nil {
		t.Fatal(err)
	}
	const within = 1.5
	for _, size := range sizes {
		d, err := plan.MeasureThread(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.New(m, d, plan.Options{Sizes: []export.Size{size}})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v", size, d)
		c := p.Candidates[0]
		for _, run := range measure(t, dir, size) {
			predicted := c.FirstToken[0]
			switch run.what {
			case "first token after 8k":
				predicted = c.FirstToken[1]
			case "a token":
				predicted = 1 / c.Tokens
			}
			ratio := predicted / run.seconds
			t.Logf("%s, %s: predicted %.4g s, measured %.4g s, ratio %.2f", size, run.what, predicted, run.seconds, ratio)
			if ratio < 1/within || ratio > within {
				t.Errorf("%s, %s: predicted %.4g s, measured %.4g s; want within a factor of %g", size, run.what, predicted, run.seconds, within)
			}
		}
	}
}

// timed is how long something took.
type timed struct {
	what    string
	seconds float64
}

// measure reads 2,048 and 8,192 tokens with exported graphs, and generates.
func measure(t *testing.T, dir string, size export.Size) []timed {
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
	return []timed{{"first token after 2k", short}, {"first token after 8k", long}, {"a token", seconds / answer}}
}

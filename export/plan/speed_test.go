package plan_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/host"
	"eisft/export/ort/orttest"
	"eisft/export/plan"
)

// TestMeasureSpeed: the time to the first token is that of the whole prompt, whatever was read before
// it, and tokens are counted behind full slots, a segment of them. What the first runs take more is apart. The clock
// goes by tokens, and by as many again and one in the runs before.
func TestMeasureSpeed(t *testing.T) {
	orttest.Require(t)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	dir := filepath.Join(t.TempDir(), "graphs")
	if _, _, err := export.Export(t.Context(), m, dir, export.Options{Sizes: []export.Size{{Tokens: 4, Cache: 17}}, NoVerify: true, NoGolden: true}); err != nil {
		t.Fatal(err)
	}
	loaded, err := host.Open(dir, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	tokens, most, asked := 0, 0, 0
	clock := func() time.Duration {
		// It is asked when a stream begins, and after 12, 13 and 14 tokens in the runs before; then read says how many.
		if asked++; asked <= 5 {
			return time.Duration([]int{0, 25, 27, 29, 0}[asked-1]) * time.Second
		}
		return time.Duration(tokens) * time.Second
	}
	s, err := plan.MeasureSpeed(t.Context(), loaded, []int{7, 12}, clock, func(n int) { tokens, most = n, max(most, n) })
	if err != nil {
		t.Fatal(err)
	}
	const full, segment = 17, 4
	if !slices.Equal(s.FirstToken, []float64{7, 12}) || s.Tokens != 1 || s.FirstRuns != 25-12 || most != full+segment {
		t.Errorf("%+v after %d tokens, want 7 s, 12 s, one token a second, 13 s of first runs, and %d tokens", s, most, full+segment)
	}
}

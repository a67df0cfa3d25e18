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
// it, and tokens are counted behind full slots, a segment of them. The clock goes by tokens.
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
	tokens, most := 0, 0
	clock := func() time.Duration { return time.Duration(tokens) * time.Second }
	s, err := plan.MeasureSpeed(t.Context(), loaded, []int{7, 12}, clock, func(n int) { tokens, most = n, max(most, n) })
	if err != nil {
		t.Fatal(err)
	}
	const full, segment = 17, 4
	if !slices.Equal(s.FirstToken, []float64{7, 12}) || s.Tokens != 1 || most != full+segment {
		t.Errorf("%+v after %d tokens, want 7 s, 12 s, one token a second, and %d tokens", s, most, full+segment)
	}
}

package model_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// TestFeedFrom asks for the hidden states of fewer and fewer tokens: they are
// those of a stream that is asked for all, bit by bit, and so is what it reads
// afterwards.
func TestFeedFrom(t *testing.T) {
	m := modeltest.Open(t, "demo", modeltest.DefaultBlock(t))
	r := rand.New(rand.NewPCG(1, 2))
	ids := make([]int32, 900)
	for i := range ids {
		ids[i] = r.Int32N(int32(m.Base.Embed.Out))
	}
	const read = 850 // segments end at 256, 512 and 768
	d := m.Base.Dims.Hidden
	var all []float32
	keep := func(to *[]float32) func(int, []float32) error {
		return func(_ int, hidden []float32) error { *to = append(*to, hidden...); return nil }
	}
	if err := m.NewStream(model.StreamOptions{}).Feed(t.Context(), ids, 0, keep(&all)); err != nil {
		t.Fatal(err)
	}
	for _, from := range []int{0, 1, 255, 256, 300, 700, 849, 850} {
		st := m.NewStream(model.StreamOptions{})
		var got []float32
		next := from
		err := st.Feed(t.Context(), ids[:read], from, func(first int, hidden []float32) error {
			end := min(read, (st.Seen()+255)/256*256)
			if want := min(max(from, next), end); first != want || first+len(hidden)/d != end {
				t.Errorf("from %d: %d states from token %d on, want those of %d to %d", from, len(hidden)/d, first, want, end)
			}
			next = end
			got = append(got, hidden...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Feed(t.Context(), ids[read:], 0, keep(&got)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, all[from*d:]) {
			t.Errorf("from %d: other states than those of a stream asked for all tokens", from)
		}
	}
}

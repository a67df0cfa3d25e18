package model_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/modeltest"
)

// feedPieces feeds ids in pieces and returns all hidden states.
func feedPieces(t *testing.T, st *model.Stream, ids []int32, pieces ...int) (hidden []float32) {
	t.Helper()
	for _, n := range append(pieces, len(ids)) {
		n = min(n, len(ids))
		if err := st.Feed(t.Context(), ids[:n], 0, func(_ int, h []float32) error {
			hidden = append(hidden, h...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		ids = ids[n:]
	}
	return hidden
}

// ones are n pieces of one token.
func ones(n int) []int { return slices.Repeat([]int{1}, n) }

// TestCaches reads a text under every type of cache: hidden states are near those of float32, and have the same bits
// whatever it is cut into, from a file and from a clone. Full attention gets its rows in several chunks by it.
func TestCaches(t *testing.T) {
	if !strings.HasPrefix(kernels.Backend(), "built-in") {
		t.Skip("a single token is read by the built-in kernels, others by " + kernels.Backend())
	}
	small := modeltest.DefaultBlock(t)
	small.Window, small.Segment, small.Slots = 40, 32, 24
	for _, spec := range []model.Spec{small, model.FullAttention(64)} {
		m := modeltest.Open(t, "demo", spec)
		ids := modeltest.Tokens(m, 150)
		if spec.Window > len(ids) { // more than a chunk
			ids = modeltest.Tokens(m, 280)
		}
		exact := feedPieces(t, m.NewStream(model.StreamOptions{NoRouting: true}), ids)
		floats := int64(0)
		for _, c := range model.CacheTypes() {
			o := model.StreamOptions{Cache: c, NoRouting: true}
			whole := m.NewStream(o)
			want := feedPieces(t, whole, ids)
			far, bound := modeltest.Relative(want, exact, 1e-3), map[model.CacheType]float64{model.CacheFloat32: 0, model.CacheFloat16: 0.01, model.CacheInt8: 0.2}[c]
			if far > bound || far < bound/100 {
				t.Errorf("%s, segments of %d: hidden states are %g from those of float32", c, spec.Segment, far)
			}
			if floats == 0 {
				floats = whole.StateBytes()
			} else if whole.StateBytes() >= floats {
				t.Errorf("%s: the state takes %d bytes, with float32 %d", c, whole.StateBytes(), floats)
			}
			cut := len(ids) - 20
			st := m.NewStream(o)
			got := feedPieces(t, st, ids[:cut], append([]int{cut - 80, 3}, ones(60)...)...)
			path := filepath.Join(t.TempDir(), "state")
			if err := st.Save(path, nil); err != nil {
				t.Fatal(err)
			}
			opened, _, err := m.OpenStream(path, model.StreamOptions{NoRouting: true})
			if err != nil {
				t.Fatal(err)
			}
			rest := want[cut*m.Base.Dims.Hidden:]
			for name, st := range map[string]*model.Stream{"clone": st.Clone(), "file": opened} {
				if !slices.Equal(feedPieces(t, st, ids[cut:], ones(20)...), rest) {
					t.Errorf("%s, segments of %d: another continuation from the %s", c, spec.Segment, name)
				}
			}
			if got = append(got, feedPieces(t, st, ids[cut:], 7)...); !slices.Equal(got, want) {
				t.Errorf("%s, segments of %d: read in pieces, hidden states have other bits", c, spec.Segment)
			}
		}
	}
}

// TestFullAttentionKeepsItsRows: what is stored stays where it is when more tokens come.
func TestFullAttentionKeepsItsRows(t *testing.T) {
	m := modeltest.Open(t, "demo", model.FullAttention(256))
	st := m.NewStream(model.StreamOptions{})
	ids := modeltest.Tokens(m, 257)
	feedPieces(t, st, ids[:256])
	at := &st.State.Layers[0].V.Floats()[0]
	feedPieces(t, st, ids[256:])
	if first := st.State.Layers[0].V.FirstChunk(); &first[0] != at || len(first) != 256*m.Base.Dims.KVHeads*m.Base.Dims.HeadDim {
		t.Errorf("the first rows have moved, to %d floats", len(first))
	}
}

// TestOpenStreamOfAnotherCache: a state is opened in the type that it was saved with.
func TestOpenStreamOfAnotherCache(t *testing.T) {
	m := modeltest.Open(t, "demo", modeltest.DefaultBlock(t))
	path := filepath.Join(t.TempDir(), "state")
	if err := m.NewStream(model.StreamOptions{Cache: model.CacheFloat16}).Save(path, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.OpenStream(path, model.StreamOptions{Cache: model.CacheFloat16}); err != nil {
		t.Error(err)
	}
	_, _, err := m.OpenStream(path, model.StreamOptions{Cache: model.CacheInt8})
	if want := "was saved with a cache of float16, but int8 is asked for"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one about %q", err, want)
	}
}

func TestCheckCache(t *testing.T) {
	b := modeltest.Open(t, "demo", modeltest.DefaultBlock(t)).Base
	odd := *b
	odd.Dims.HeadDim = 80
	for _, c := range []struct {
		base  *model.Base
		cache model.CacheType
		want  string
	}{
		{b, model.CacheInt8, ""},
		{b, "int4", `cache is "int4"; did you mean "int8"? It must be one of float32, float16, int8`},
		{&odd, model.CacheFloat16, ""},
		{&odd, model.CacheInt8, `cache is "int8", whose scales are for 32 numbers, but the base has heads of 80; take float16`},
	} {
		got := ""
		if err := c.base.CheckCache(c.cache); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.cache, got, c.want)
		}
	}
}

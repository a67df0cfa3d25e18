package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/host"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort/orttest"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
	"eisft/quant/encoding"
)

// folder exports a model without comparing it.
func folder(t testing.TB, m *model.Model, change func(*export.Options)) string {
	t.Helper()
	orttest.Require(t)
	o := export.Options{Sizes: []export.Size{{Tokens: 4, Cache: 17}}, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll, Embeddings: export.EmbedFloat32, NoVerify: true, NoGolden: true}
	if change != nil {
		change(&o)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, _, err := export.Export(t.Context(), m, out, o); err != nil {
		t.Fatal(err)
	}
	return out
}

// open loads a folder until the test's end.
func open(t testing.TB, dir string, o host.Options) *host.Model {
	t.Helper()
	m, err := host.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// stream starts a sequence until the test's end.
func stream(t testing.TB, m *host.Model) *host.Stream {
	t.Helper()
	st, err := m.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// TestGenerate: the same tokens as the Go model's, greedy, whatever the graphs read and
// give and however long the prompt is: a short one is held, and starts to leave sinks,
// window and segment while it is continued.
func TestGenerate(t *testing.T) {
	for name, c := range map[string]struct {
		block  func(*model.Spec)
		base   func(*hf.Config)
		change func(*export.Options)
	}{
		"embeds":        {},
		"scaled embeds": {base: func(c *hf.Config) { c.EmbeddingScale = 3 }},
		"ids, last":     {change: func(o *export.Options) { o.Inputs, o.Logits = lower.InputIDs, lower.LogitsLast }},
		"few slots":     {block: func(s *model.Spec) { s.SlotLayers = []int{1} }},
		"slots where all is seen": {block: func(s *model.Spec) { s.SlotLayers = []int{1} }, base: func(c *hf.Config) {
			c.SlidingWindow, c.LayerTypes, c.RopeLocal = 7, []hf.LayerType{hf.SlidingAttention, hf.FullAttention}, c.Rope
		}},
		"sliding window": {base: func(c *hf.Config) {
			c.SlidingWindow, c.LayerTypes = 7, []hf.LayerType{hf.SlidingAttention, hf.FullAttention}
			c.RopeLocal = hf.Rope{Type: "default", Theta: 50, PartialRotaryFactor: 0.5}
		}},
		"scaled cosines taken off again": {block: func(s *model.Spec) { s.Positions = model.PositionsAbsolute }, base: func(c *hf.Config) {
			c.Rope = hf.Rope{Type: "yarn", Theta: 10000, Factor: 4, OriginalMaxPositionEmbeddings: 64, AttentionFactor: 1.4, PartialRotaryFactor: 0.5}
		}},
		"none": {change: func(o *export.Options) { o.Logits = lower.LogitsNone }},
	} {
		t.Run(name, func(t *testing.T) {
			m := exporttest.Model(t, exporttest.Block(c.block), c.base)
			graphs := open(t, folder(t, m, c.change), host.Options{})
			for _, n := range []int{1, 2, 4, 11, 12, 30} {
				want, wantNext := generate(t, m.NewStream(model.StreamOptions{}), modeltest.Tokens(m, n))
				got, gotNext := generate(t, stream(t, graphs), modeltest.Tokens(m, n))
				if !slices.Equal(got, want) {
					t.Errorf("prompt of %d: got %v, want %v", n, got, want)
				}
				if d := distance(gotNext, wantNext); d > 1e-4 {
					t.Errorf("prompt of %d: the last logits differ by %g", n, d)
				}
			}
		})
	}
}

// reader is a stream of either kind.
type reader interface {
	Read(ctx context.Context, ids []int32, progress func(int)) ([]float32, error)
	Generate(ctx context.Context, next []float32, o model.GenerateOptions) ([]int32, error)
}

// generate returns 20 tokens and the logits after them.
func generate(t *testing.T, r reader, ids []int32) (out []int32, next []float32) {
	t.Helper()
	next, err := r.Read(t.Context(), ids, nil)
	if err == nil {
		out, err = r.Generate(t.Context(), next, model.GenerateOptions{MaxNewTokens: 20})
	}
	if err != nil {
		t.Fatal(err)
	}
	return out, next
}

func distance(x, y []float32) float64 {
	largest := 0.0
	for i, v := range x {
		largest = max(largest, math.Abs(float64(v-y[i])))
	}
	return largest
}

// TestFeedInPieces: how a text is cut into calls of Feed makes no difference.
func TestFeedInPieces(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	graphs, ids := open(t, folder(t, m, nil), host.Options{}), modeltest.Tokens(m, 61)
	vocab := m.Base.Head.Out
	logits := func(cuts []int) []float32 {
		st := stream(t, graphs)
		out, from := make([]float32, len(ids)*vocab), 0
		for i := 0; from < len(ids); i++ {
			to := min(len(ids), from+cuts[i%len(cuts)])
			err := st.Feed(t.Context(), ids[from:to], func(first int, logits []float32) error {
				copy(out[(from+first)*vocab:], logits)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			from = to
		}
		if st.Seen() != len(ids) {
			t.Errorf("%d tokens seen, want %d", st.Seen(), len(ids))
		}
		return out
	}
	whole := logits([]int{61})
	for _, cuts := range [][]int{{13, 1}, {20, 3, 2, 7}} {
		if d := distance(logits(cuts), whole); d > 1e-4 {
			t.Errorf("cut into %v: logits differ by %g", cuts, d)
		}
	}
}

// TestClone: a clone goes on as the stream does, whatever the other reads meanwhile, in every
// part of a segment.
func TestClone(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	graphs := open(t, folder(t, m, nil), host.Options{})
	ids := modeltest.Tokens(m, 60)
	read := func(st *host.Stream, ids []int32) []float32 {
		t.Helper()
		next, err := st.Read(t.Context(), ids, nil)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	for _, at := range []int{1, 19, 32, 35} {
		st := stream(t, graphs)
		read(st, ids[:at])
		clone, err := st.Clone()
		if err != nil {
			t.Fatal(err)
		}
		read(st, slices.Repeat([]int32{7}, 25)) // what must not reach the clone
		whole := stream(t, graphs)
		read(whole, ids[:at])
		if got, want := read(clone, ids[at:]), read(whole, ids[at:]); !slices.Equal(got, want) {
			t.Errorf("after %d tokens the clone goes on with other logits", at)
		}
		if err := clone.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFeedErrors(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(func(s *model.Spec) { s.Positions = model.PositionsAbsolute }), func(c *hf.Config) {
		c.Rope = hf.Rope{Type: "dynamic", Theta: 1e4, Factor: 2, OriginalMaxPositionEmbeddings: 20}
	})
	st := stream(t, open(t, folder(t, m, nil), host.Options{}))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for want, err := range map[string]error{
		"token 1 of the input has id 50, but the exported vocabulary has 50 entries": st.Feed(t.Context(), []int32{0, 50}, nil),
		"token 0 of the input has id -1":                                             st.Feed(t.Context(), []int32{-1}, nil),
		"context canceled":                                                           st.Feed(cancelled, []int32{1}, nil),
		"position 20 is out of reach":                                                st.Feed(t.Context(), make([]int32, 21), nil),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := st.Read(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "there is nothing to read") {
		t.Errorf("got %v", err)
	}
}

// TestOpenErrors: a folder that contradicts itself is refused when it is opened or
// bound, never later.
// TestOpenAltered: a folder whose files are not those that were exported does not open.
func TestOpenAltered(t *testing.T) {
	dir := folder(t, exporttest.Model(t, exporttest.Block(nil), nil), nil)
	path := filepath.Join(dir, export.WeightsFile)
	weights, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	weights[len(weights)/2] ^= 0x40
	if err := os.WriteFile(path, weights, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = host.Open(dir, host.Options{})
	if err == nil || !strings.Contains(err.Error(), export.WeightsFile+" has sha256 ") || !strings.Contains(err.Error(), "export again, or copy the folder again") {
		t.Errorf("error %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	good := folder(t, m, nil)
	for _, c := range []struct {
		name    string
		options host.Options
		spoil   func(m *manifest.Manifest)
		want    string
	}{
		{"shape", host.Options{Shape: "8x17"}, nil, `there is no shape "8x17"; the folder has 4x17`},
		{"precision", host.Options{Precision: "w4"}, nil, `there are no graphs in "w4"; the folder has float`},
		{"no commit graph", host.Options{}, func(m *manifest.Manifest) {
			m.Graphs, m.States = m.Graphs[:2], nil
		}, "the manifest must list a commit graph for 4x17 in float"},
		{"layers", host.Options{}, func(m *manifest.Manifest) {
			m.Graphs[1].Inputs = slices.DeleteFunc(m.Graphs[1].Inputs, func(p manifest.Port) bool { return p.Role == "key" })
			m.States = nil
		}, "the generation graph must have a key cache of four axes and logits of three"},
		{"features", host.Options{}, func(m *manifest.Manifest) { m.Features = 3 }, "the memory of layer 0"},
		{"cache", host.Options{}, func(m *manifest.Manifest) {
			m.Shapes[0].Slots++
			m.Shapes[0].Cache++
			m.Shapes[0].Name = "4x18"
			for i := range m.Graphs {
				m.Graphs[i].Shape = "4x18"
			}
		}, "the mask of layer -1"},
		{"codes", host.Options{}, func(m *manifest.Manifest) {
			e := encoding.Signed(8, 1)
			for i, p := range m.Graphs[1].Inputs {
				if p.Role == "key" {
					m.Graphs[1].Inputs[i].DType, m.Graphs[1].Inputs[i].Encoding = "int8", &e
				}
			}
			m.States = nil
		}, "the key of layer 0 is []float32, want int8 as in the cache"},
		{"frequencies", host.Options{}, func(m *manifest.Manifest) { m.Kinds[0].Rope.InvFreq = make([]float32, 5) }, "kinds[0].rope.inv_freq has 5 frequencies for heads of 8"},
		{"no mask", host.Options{}, func(m *manifest.Manifest) {
			m.Graphs[1].Inputs = slices.DeleteFunc(m.Graphs[1].Inputs, func(p manifest.Port) bool { return p.Role == "mask" })
		}, "the mask of layer -1"},
		{"sliding layers without ports", host.Options{}, func(m *manifest.Manifest) {
			m.Kinds = append(m.Kinds, manifest.Kind{Suffix: manifest.SlidingSuffix, Window: 3, Layers: []int{1}, Rope: m.Kinds[0].Rope})
			m.Kinds[0].Layers = []int{0}
		}, "the mask_sliding of layer -1"},
		{"layer of no kind", host.Options{}, func(m *manifest.Manifest) { m.Kinds[0].Layers = []int{1} }, "layer 0 is of none of the kinds"},
		{"layer too many", host.Options{}, func(m *manifest.Manifest) { m.Kinds[0].Layers = []int{0, 1, 2} }, "kinds[0] has layer 2, but the graphs have layers 0 to 1"},
		{"embeddings", host.Options{}, func(m *manifest.Manifest) { m.Embeddings = "none" }, "embeddings: "},
		{"embeddings of another kind", host.Options{}, func(m *manifest.Manifest) { m.Embeddings = export.WeightsFile }, "embeddings: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			if c.spoil != nil {
				rewrite(t, dir, c.spoil)
			}
			loaded, err := host.Open(dir, c.options)
			if err == nil {
				_, err = loaded.NewStream()
				err = errors.Join(err, loaded.Close())
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := host.Open(t.TempDir(), host.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no manifest: %v", err)
	}
}

// rewrite changes a folder's manifest.
func rewrite(t *testing.T, dir string, change func(*manifest.Manifest)) {
	t.Helper()
	m, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(m)
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.Name), raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// demo exports the demo base in a small shape, and quantized.
func demo(b *testing.B) string {
	b.Helper()
	m := modeltest.Open(b, "../../model/demo", modeltest.DefaultBlock(b))
	return folder(b, m, func(o *export.Options) {
		o.Sizes, o.Quantized = []export.Size{{Tokens: 512, Cache: 2048}}, exporttest.Quantized(b, m)
	})
}

// BenchmarkHost measures prompt and generation of the demo base at 512x2048, with slots
// filling up.
func BenchmarkHost(b *testing.B) {
	dir := demo(b)
	for _, precision := range []string{manifest.Float, "w8a16"} {
		for name, n := range map[string]int{"prompt": 512, "generation": 1} {
			b.Run(precision+"/"+name, func(b *testing.B) {
				st := stream(b, open(b, dir, host.Options{Precision: precision}))
				if err := st.Feed(b.Context(), make([]int32, 1024), nil); err != nil {
					b.Fatal(err)
				}
				ids := make([]int32, n)
				b.ReportAllocs()
				for b.Loop() {
					for i := range ids {
						ids[i] = int32(7 * (i + st.Seen()) % 4096)
					}
					if err := st.Feed(b.Context(), ids, nil); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}

package export_test

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"eisft/data"
	"eisft/data/synth"
	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/host"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/export/tflite/litert/litertest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/modeltest"
	"eisft/model/tokenizer"
	"eisft/quant"
)

// promptLengths are those of TestSlowTokensAtEveryLevel, four for each of five sizes.
var promptLengths = []int{300, 350, 400, 450, 500, 550, 600, 700, 800, 900, 1000, 1100, 1300, 1500, 1700, 2000, 2500, 3500, 5000, 8000}

// answered is how many tokens are compared behind each prompt.
const answered = 8

// step is a token that the Go model chooses, and by how much its logit leads.
type step struct {
	token int32
	lead  float32
}

// conversations are prompts as people talk, in tokens of the demo base.
func conversations(t *testing.T, lengths []int) [][]int32 {
	t.Helper()
	tk, err := tokenizer.Load(demoBase)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]int32
	for i, n := range lengths {
		talk := synth.Generate(rand.New(rand.NewPCG(uint64(i), 77)), 6*n, 4)
		ids := tk.Encode(strings.Join(talk.Lines, "\n"), true)
		if len(ids) < n {
			t.Fatalf("a conversation has %d tokens, want %d", len(ids), n)
		}
		all = append(all, ids[:n])
	}
	return all
}

const demoBase = "../model/demo"

// inLiteRT are the prompts that LiteRT reads under a scheme: a short one and a middling one, and
// under w8a16 the longest, too. Its kernels run on one thread in WebAssembly.
func inLiteRT(scheme string) []int {
	if scheme == "w8a16" {
		return []int{1, 10, len(promptLengths) - 1}
	}
	return []int{1, 10}
}

// TestSlowTokensAtEveryLevel: behind 20 prompts of 300 to 8,000 tokens, the graphs of the demo
// base, float and quantized as w8a16, w4a16-lpbq32 and w8a8, choose the tokens of the Go
// model, under the same rounding where they are quantized. The prompts are split between the
// engines: each is read at one of ONNX Runtime's four levels, the shortest at all of them, and
// two or three of them in LiteRT, but for w4a16-lpbq32, whose blocks TFLite
// does not have. Both sides read the tokens that the Go model chose.
// Float graphs have to agree everywhere. In quantized ones numbers near the edge between two
// codes fall to the other side for rounding errors, which the comparison of every export
// measures on a twin of the Go model alone: the graphs' logits may be off by its tolerance.
// Wherever the Go model's choice leads by more than twice that, the token must be the same,
// and so the share of such steps bounds the share of equal tokens from below.
// Both hosts in other languages read long prompts in export/hostfiles (TestHostLongPrompts).
func TestSlowTokensAtEveryLevel(t *testing.T) {
	testfiles.Slow(t)
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	m := modeltest.Open(t, demoBase, modeltest.DefaultBlock(t))
	m = exporttest.Join(t, m.Base, m.Spec)
	prompts := conversations(t, promptLengths)
	seen, err := quant.Calibrate(t.Context(), m, func(yield func(data.Encoded, error) bool) {
		for _, ids := range conversations(t, []int{1500, 1501}) {
			if !yield(data.Encoded{Where: "a conversation", IDs: ids}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{manifest.Float, "w8a16", "w4a16-lpbq32", "w8a8"} {
		t.Run(name, func(t *testing.T) {
			o := export.Options{Sizes: []export.Size{{Tokens: 256, Cache: 1024}}, Inputs: lower.InputEmbeds, Logits: lower.LogitsLast, Embeddings: export.EmbedFloat32, NoGolden: true, Name: "demo"}
			if name != manifest.Float {
				q, err := quant.Quantize(m, exporttest.Scheme(t, name, quant.Generic), quant.RangeMinMax, seen)
				if err != nil {
					t.Fatal(err)
				}
				o.Quantized, o.QuantizedOnly = q, true
			}
			wanted := map[int][]step{} // by prompt, found once for all engines
			choices := func(s manifest.Shape, i int) []step {
				if wanted[i] == nil {
					wanted[i] = chosen(t, m, o, s, prompts[i:i+1])[0]
				}
				return wanted[i]
			}
			t.Run("ONNX Runtime", func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "out")
				info, _, err := export.Export(t.Context(), m, dir, o)
				if err != nil {
					t.Fatal(err)
				}
				c := compared{precision: name, tolerance: float32(info.Verification[0].Tolerance.Max)}
				for _, level := range ort.Levels() {
					loaded, err := host.Open(dir, host.Options{Precision: name, Level: level})
					if err != nil {
						t.Fatal(err)
					}
					for i, ids := range prompts {
						if i == 0 || i%len(ort.Levels()) == int(level) {
							c.follow(t, loaded, "level "+level.String(), ids, choices(info.Shapes[0], i))
						}
					}
					if err := loaded.Close(); err != nil {
						t.Fatal(err)
					}
				}
				c.report(t, len(prompts)+3)
			})
			t.Run("LiteRT", func(t *testing.T) {
				litertest.Require(t)
				o := o
				o.Format = export.FormatTFLite
				dir := filepath.Join(t.TempDir(), "out")
				info, _, err := export.Export(t.Context(), m, dir, o)
				if name == "w4a16-lpbq32" {
					if err == nil || !strings.Contains(err.Error(), "has a scale for each block of 32 weights") {
						t.Errorf("got %v, want a refusal", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				loaded, err := host.Open(dir, host.Options{Precision: name})
				if err != nil {
					t.Fatal(err)
				}
				c := compared{precision: name, tolerance: float32(info.Verification[0].Tolerance.Max)}
				for _, i := range inLiteRT(name) {
					c.follow(t, loaded, "LiteRT", prompts[i], choices(info.Shapes[0], i))
				}
				if err := loaded.Close(); err != nil {
					t.Fatal(err)
				}
				c.report(t, len(inLiteRT(name)))
			})
		})
	}
}

// compared counts the tokens that are equal, those that the Go model chooses by so much that
// they must be, and all.
type compared struct {
	precision         string
	tolerance         float32 // of a logit
	equal, clear, all int
}

// follow compares the tokens that graphs choose behind a prompt.
func (c *compared) follow(t *testing.T, m *host.Model, where string, ids []int32, wanted []step) {
	t.Helper()
	for j, got := range followed(t, m, ids, wanted) {
		w := wanted[j]
		must := w.lead > 2*c.tolerance
		c.all++
		if got == w.token {
			c.equal++
		}
		if must {
			c.clear++
		}
		if got != w.token && (must || c.precision == manifest.Float) {
			t.Errorf("%s, prompt of %d tokens, token %d: %d, the Go model chooses %d by %.3g (tolerance %.3g)", where, len(ids), j, got, w.token, w.lead, c.tolerance)
		}
	}
}

func (c *compared) report(t *testing.T, prompts int) {
	t.Helper()
	t.Logf("%s: %d of %d tokens are equal (%.1f %%); %d are chosen by more than twice the tolerance of %.3g", c.precision, c.equal, c.all, 100*float64(c.equal)/float64(c.all), c.clear, c.tolerance)
	if c.equal < c.clear || c.all != prompts*answered {
		t.Errorf("%d of %d tokens are equal, want at least %d", c.equal, c.all, c.clear)
	}
}

// chosen are the Go model's own tokens behind each prompt, under fake quantization where the
// options have any.
func chosen(t *testing.T, m *model.Model, o export.Options, s manifest.Shape, prompts [][]int32) [][]step {
	t.Helper()
	var options model.StreamOptions
	if o.Quantized != nil {
		faked, wrap, err := quant.Apply(m, o.Quantized)
		if err != nil {
			t.Fatal(err)
		}
		m, options.Wrap = faked, wrap
	}
	spec, err := export.Size{Tokens: s.Tokens, Cache: s.Cache}.Fit(m.Spec)
	if err == nil {
		m, err = model.New(m.Base, spec, m.Params)
	}
	if err != nil {
		t.Fatal(err)
	}
	logits := make([]float32, m.Base.Head.Out)
	var all [][]step
	for _, ids := range prompts {
		st := m.NewStream(options)
		var steps []step
		for range answered {
			var last []float32
			err := st.Feed(t.Context(), ids, len(ids)-1, func(_ int, hidden []float32) error {
				if len(hidden) > 0 { // of a stretch before the last token
					last = append(last[:0], hidden[len(hidden)-m.Base.Dims.Hidden:]...)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			st.Logits(logits, last)
			best := kernels.ArgMax(logits)
			first := logits[best]
			logits[best] = logits[(best+1)%len(logits)]
			second := logits[kernels.ArgMax(logits)]
			steps = append(steps, step{int32(best), first - second})
			ids = []int32{int32(best)}
		}
		all = append(all, steps)
	}
	return all
}

// followed are the tokens that graphs choose where they read those of the Go model.
func followed(t *testing.T, m *host.Model, ids []int32, steps []step) []int32 {
	t.Helper()
	st, err := m.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	var list []int32
	for _, s := range steps {
		logits, err := st.Read(t.Context(), ids, nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, int32(kernels.ArgMax(logits)))
		ids = []int32{s.token}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return list
}

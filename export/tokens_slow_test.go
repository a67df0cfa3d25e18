package export_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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

// step is what the Go model gives behind a token, the token that it chooses, and by how much that leads.
type step struct {
	logits []float32
	token  int32
	lead   float32
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

// inLiteRT are the prompts that LiteRT reads under a scheme: a short one, one behind which slots are
// full and the memory in use, and in float the longest. Its kernels run on one thread in WebAssembly, those of 16-bit
// activations five times slower than those in float.
func inLiteRT(scheme string) []int {
	if scheme == manifest.Float {
		return []int{1, 10, len(promptLengths) - 1}
	}
	return []int{1, 12}
}

// TestSlowTokensAtEveryLevel: behind 20 prompts of 300 to 8,000 tokens, the graphs of the demo
// base, float and quantized as w8a16, w4a16-lpbq32 and w8a8, choose the tokens of the Go
// model, under the same rounding where they are quantized. The prompts are split between the
// engines: each is read at one of ONNX Runtime's four levels, the shortest at all of them, and
// two or three of them in LiteRT, but for w4a16-lpbq32, whose blocks TFLite
// does not have. Both sides read the tokens that the Go model chose.
// Float graphs have to agree everywhere, and their logits by their tolerance, in which a host's wrong rule shows that
// changes no token. In quantized ones numbers near the edge between two
// codes fall to the other side for rounding errors, which golden vectors measure on a twin of the
// Go model alone: by their tolerance, largest and mean, the graphs' logits may be off.
// Wherever the Go model's choice leads by more than twice that, the token must be the same.
// Both hosts in other languages read long prompts in export/hostfiles (TestHostLongPrompts).
func TestSlowTokensAtEveryLevel(t *testing.T) {
	testfiles.Slow(t)
	orttest.Require(t)
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
			o := export.Options{Sizes: []export.Size{{Tokens: 256, Cache: 1024}}, Inputs: lower.InputEmbeds, Logits: lower.LogitsLast, Embeddings: export.EmbedFloat32, NoVerify: true, Name: "demo"}
			if name != manifest.Float {
				q, err := quant.Quantize(m, exporttest.Scheme(t, name, quant.Generic), quant.RangeMinMax, seen)
				if err != nil {
					t.Fatal(err)
				}
				o.Quantized, o.QuantizedOnly = q, true
			}
			reader := inSize(t, m, o)
			wanted := map[int][]step{} // by prompt, found once for all engines
			choices := func(i int) []step {
				if wanted[i] == nil {
					wanted[i] = reader.chosen(t, prompts[i])
				}
				return wanted[i]
			}
			t.Run("ONNX Runtime", func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "out")
				info, _, err := export.Export(t.Context(), m, dir, o)
				if err != nil {
					t.Fatal(err)
				}
				c := compared{precision: name, GoldenTolerance: toleranceOf(t, dir, info)}
				for _, level := range ort.Levels() {
					loaded, err := host.Open(dir, host.Options{Precision: name, Level: level})
					if err != nil {
						t.Fatal(err)
					}
					for i, ids := range prompts {
						if i == 0 || i%len(ort.Levels()) == int(level) {
							c.follow(t, loaded, "level "+level.String(), ids, choices(i))
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
				c := compared{precision: name, GoldenTolerance: toleranceOf(t, dir, info)}
				for _, i := range inLiteRT(name) {
					c.follow(t, loaded, "LiteRT", prompts[i], choices(i))
				}
				if err := loaded.Close(); err != nil {
					t.Fatal(err)
				}
				c.report(t, len(inLiteRT(name)))
			})
		})
	}
}

// toleranceOf is that of the golden vectors of a folder with one precision.
func toleranceOf(t *testing.T, dir string, info *manifest.Manifest) export.GoldenTolerance {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, info.Golden[0].Steps))
	var steps export.GoldenSteps
	if err == nil {
		err = json.Unmarshal(text, &steps)
	}
	if err != nil {
		t.Fatal(err)
	}
	return steps.Tolerance
}

// compared counts the tokens that are equal, those that the Go model chooses by so much that
// they must be, and all, and sums up the differences of logits.
type compared struct {
	precision string
	export.GoldenTolerance
	equal, clear, all int
	sum, largest      float64
	logits            int
}

// follow compares what graphs choose behind a prompt, where they read the tokens that the Go model chose.
func (c *compared) follow(t *testing.T, m *host.Model, where string, ids []int32, wanted []step) {
	t.Helper()
	st, err := m.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	for j, w := range wanted {
		logits, err := st.Read(t.Context(), ids, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range logits {
			d := math.Abs(float64(v - w.logits[i]))
			c.sum += d
			c.largest = max(c.largest, d)
		}
		c.logits += len(logits)
		got := int32(kernels.ArgMax(logits))
		must := float64(w.lead) > 2*c.Logits.Max
		c.all++
		if got == w.token {
			c.equal++
		}
		if must {
			c.clear++
		}
		if got != w.token && (must || c.precision == manifest.Float) {
			t.Errorf("%s, prompt of %d tokens, token %d: %d, the Go model chooses %d by %.3g (tolerance %.3g)", where, len(ids), j, got, w.token, w.lead, c.Logits.Max)
		}
		ids = []int32{w.token}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

func (c *compared) report(t *testing.T, prompts int) {
	t.Helper()
	mean := c.sum / float64(c.logits)
	t.Logf("%s: %d of %d tokens are equal (%.1f %%), %d must be; logits differ by up to %.3g (tolerance %.3g), %.3g on average (tolerance %.3g)",
		c.precision, c.equal, c.all, 100*float64(c.equal)/float64(c.all), c.clear, c.largest, c.Logits.Max, mean, c.Logits.Mean)
	if !(c.largest <= c.Logits.Max && mean <= c.Logits.Mean) {
		t.Error("logits differ by more than the tolerance")
	}
	if c.all != prompts*answered {
		t.Errorf("%d tokens were compared, want %d", c.all, prompts*answered)
	}
}

// reader is the Go model in the sizes of an export, under fake quantization where that has any.
type reader struct {
	*model.Model
	options model.StreamOptions
}

func inSize(t *testing.T, m *model.Model, o export.Options) reader {
	t.Helper()
	r := reader{Model: m}
	var err error
	if o.Quantized != nil {
		if r.Model, r.options.Wrap, err = quant.Apply(m, o.Quantized); err != nil {
			t.Fatal(err)
		}
	}
	spec, err := o.Sizes[0].Fit(m.Spec)
	if err == nil {
		r.Model, err = model.New(r.Base, spec, r.Params)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// chosen are the Go model's own tokens behind a prompt.
func (r reader) chosen(t *testing.T, ids []int32) (steps []step) {
	t.Helper()
	st := r.NewStream(r.options)
	for range answered {
		var last []float32
		err := st.Feed(t.Context(), ids, len(ids)-1, func(_ int, hidden []float32) error {
			if len(hidden) > 0 { // of a stretch before the last token
				last = append(last[:0], hidden[len(hidden)-r.Base.Dims.Hidden:]...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		logits := make([]float32, r.Base.Head.Out)
		st.Logits(logits, last)
		best := kernels.ArgMax(logits)
		others := slices.Delete(slices.Clone(logits), best, best+1)
		steps = append(steps, step{logits, int32(best), logits[best] - others[kernels.ArgMax(others)]})
		ids = []int32{int32(best)}
	}
	return steps
}

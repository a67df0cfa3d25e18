package export_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/exporttest"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
)

var size = export.Size{Tokens: 4, Cache: 17}

func options() export.Options {
	return export.Options{Sizes: []export.Size{size}, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll, Name: "tiny", NoGolden: true}
}

// exported writes the model and returns the folder and its manifest. Every finding of
// the structural check fails the test.
func exported(t testing.TB, m *model.Model, o export.Options) (string, *manifest.Manifest) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "runs", "tiny")
	info, report, err := export.Export(t.Context(), m, out, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Errorf("finding: %s", f)
	}
	return out, info
}

// TestShapesOfOneCache: a generation graph is shared by shapes of the same cache, but for layers
// without slots, whose cache has the segment in it.
func TestShapesOfOneCache(t *testing.T) {
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	for _, tc := range []struct {
		change func(*model.Spec)
		want   []string
	}{
		{nil, []string{"1t17c.onnx"}},
		{func(s *model.Spec) { s.SlotLayers = []int{1} }, []string{"1t17c-3t.onnx", "1t17c-4t.onnx"}},
	} {
		m := exporttest.Model(t, exporttest.Block(tc.change), nil)
		o := options()
		o.Sizes = append(o.Sizes, export.Size{Tokens: 3, Cache: 17}, export.Size{Tokens: 4, Cache: 20})
		_, info := exported(t, m, o)
		var got []string
		for _, name := range info.GraphFiles() {
			if strings.HasPrefix(name, "1t17c") {
				got = append(got, name)
			}
		}
		if slices.Sort(got); !slices.Equal(got, tc.want) {
			t.Errorf("generation graphs %v, want %v", got, tc.want)
		}
	}
}

// TestEverySwitch compares the driven graphs with the Go model for every switch of the
// block, over a prompt that fills slots and memory, and generation.
func TestEverySwitch(t *testing.T) {
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	for name, change := range map[string]func(*model.Spec){
		"eisft":        nil,
		"elu":          func(s *model.Spec) { s.Feature = model.FeatureELU },
		"delta":        func(s *model.Spec) { s.Memory = model.MemoryDelta },
		"delta elu":    func(s *model.Spec) { s.Memory, s.Feature = model.MemoryDelta, model.FeatureELU },
		"narrow":       func(s *model.Spec) { s.FeatureDim = 5 },
		"scalar":       func(s *model.Spec) { s.Gate = model.GateScalar },
		"vector":       func(s *model.Spec) { s.Gate = model.GateVector },
		"query":        func(s *model.Spec) { s.Gate = model.GateQuery },
		"mass":         func(s *model.Spec) { s.Gate = model.GateMass },
		"mass elu":     func(s *model.Spec) { s.Gate, s.Feature = model.GateMass, model.FeatureELU },
		"map":          func(s *model.Spec) { s.Map = true },
		"map vector":   func(s *model.Spec) { s.Map, s.Gate = true, model.GateVector },
		"write gate":   func(s *model.Spec) { s.WriteGate, s.Slots, s.Window = true, 0, 11 },
		"no slots":     func(s *model.Spec) { s.Slots, s.Window = 0, 11 },
		"no memory":    func(s *model.Spec) { s.Memory = model.MemoryNone },
		"window only":  func(s *model.Spec) { s.Memory, s.Slots, s.Window = model.MemoryNone, 0, 11 },
		"absolute":     func(s *model.Spec) { s.Positions = model.PositionsAbsolute },
		"absolute elu": func(s *model.Spec) { s.Positions, s.Feature = model.PositionsAbsolute, model.FeatureELU },
		"no sinks":     func(s *model.Spec) { s.Sink, s.Slots = 0, 8 },
		"no window":    func(s *model.Spec) { s.Window, s.Slots = 0, 11 },
		"few slots":    func(s *model.Spec) { s.SlotLayers = []int{1} },
		"few, mass": func(s *model.Spec) {
			s.SlotLayers, s.Gate, s.Positions = []int{0}, model.GateMass, model.PositionsAbsolute
		},
		"few, no memory": func(s *model.Spec) { s.SlotLayers, s.Memory = []int{0}, model.MemoryNone },
		"many sinks":     func(s *model.Spec) { s.Sink, s.Slots = 6, 2 },
		"mlp":            func(s *model.Spec) { s.Retention = model.Retention{Form: model.RetentionMLP, Hidden: 5} },
		"decay":          func(s *model.Spec) { s.Retention.Decay = true },
		"few, mlp, decay, absolute": func(s *model.Spec) {
			s.SlotLayers, s.Positions = []int{1}, model.PositionsAbsolute
			s.Retention = model.Retention{Form: model.RetentionMLP, Hidden: 5, Decay: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := exporttest.Model(t, exporttest.Block(change), nil)
			_, info := exported(t, m, options())
			v := info.Verification[0]
			if v.MaxLogitError > 1e-4 || v.EqualTokens != v.Compared || v.Compared != v.Read {
				t.Errorf("largest difference of a logit %.2g, %d of %d tokens equal, %d read", v.MaxLogitError, v.EqualTokens, v.Compared, v.Read)
			}
			if m.Spec.HasMemory() != (v.Written > 0) || v.Slots != m.Spec.Slots {
				t.Errorf("%d tokens in memory, %d of %d slots in use", v.Written, v.Slots, m.Spec.Slots)
			}
		})
	}
}

// families are bases that differ from Llama in what the graphs compute.
var families = map[string]func(*hf.Config){
	"llama": nil,
	"tied":  func(c *hf.Config) { c.TieWordEmbeddings = true },
	"biases": func(c *hf.Config) {
		c.AttentionBias, c.AttentionOutputBias, c.MLPBias = true, true, true
	},
	"head norms":     func(c *hf.Config) { c.QKNorm = true },
	"partial rotary": func(c *hf.Config) { c.Rope.PartialRotaryFactor = 0.5 },
	"layer norms":    func(c *hf.Config) { c.LayerNorm, c.EmbeddingNorm = true, true },
	"norms after rotary": func(c *hf.Config) {
		c.QKNorm, c.QKNormAfterRotary, c.Rope.PartialRotaryFactor = true, true, 0.5
	},
	"sliding window": func(c *hf.Config) {
		c.SlidingWindow, c.LayerTypes = 7, []hf.LayerType{hf.FullAttention, hf.SlidingAttention}
		c.RopeLocal = hf.Rope{Type: "default", Theta: 50}
	},
	"all sliding": func(c *hf.Config) {
		c.SlidingWindow, c.RopeLocal, c.LayerTypes = 3, c.Rope, []hf.LayerType{hf.SlidingAttention, hf.SlidingAttention}
	},
	"one head each": func(c *hf.Config) { c.NumKeyValueHeads = 4 },
	"gemma": func(c *hf.Config) {
		c.HiddenAct, c.PostNorms, c.EmbeddingScale, c.QKNorm = string(model.GELUTanh), true, 4.9, true
	},
	"gemma2": func(c *hf.Config) {
		c.HiddenAct, c.PostNorms, c.EmbeddingScale, c.AttentionSoftcap, c.FinalLogitSoftcap = string(model.GELUTanh), true, 4.9, 1.5, 3
		c.SlidingWindow, c.LayerTypes, c.RopeLocal = 7, []hf.LayerType{hf.SlidingAttention, hf.FullAttention}, c.Rope
	},
	"granite": func(c *hf.Config) {
		c.EmbeddingScale, c.ResidualScale, c.LogitScale, c.QueryPreAttnScale = 12, 0.22, 6, 0.2
	},
	"smollm3": func(c *hf.Config) { c.NoRope = []bool{false, true} },
	"olmo2": func(c *hf.Config) {
		c.PostNorms, c.NoInputNorms, c.QKNorm, c.QKNormWhole = true, true, true, true
	},
	"exaone4": func(c *hf.Config) {
		c.PostNorms, c.NoInputNorms, c.QKNorm, c.NoRope = true, true, true, []bool{false, true}
		c.SlidingWindow, c.LayerTypes, c.RopeLocal = 7, []hf.LayerType{hf.SlidingAttention, hf.FullAttention}, c.Rope
	},
	"no rotary": func(c *hf.Config) { c.NoRope = []bool{true, true} },
}

// TestFamilies compares float and quantized graphs with the Go model, under the same
// fake quantization, for the families of bases.
func TestFamilies(t *testing.T) { everyFamily(t, ort.Basic) }

// TestSlowFamilies: so it is when ONNX Runtime rewrites the graphs.
func TestSlowFamilies(t *testing.T) {
	testfiles.Slow(t)
	everyFamily(t, ort.Extended, ort.All)
}

func everyFamily(t *testing.T, levels ...ort.Level) {
	t.Helper()
	orttest.Require(t)
	export.VerifyAt(t, levels...)
	for name, change := range families {
		t.Run(name, func(t *testing.T) {
			m := exporttest.Model(t, exporttest.Block(nil), change)
			o := options()
			o.Quantized = exporttest.Quantized(t, m)
			_, info := exported(t, m, o)
			for i, bound := range []float64{1e-4, 0.04} {
				if v := info.Verification[i]; v.MaxLogitError > bound {
					t.Errorf("%+v: want at most %g", v, bound)
				}
			}
		})
	}
}

// TestGoldenFamilies compares quantized graphs of golden checkpoints with the Go model, which
// their goldens hold. Some have scales, caps, norms after all else or layers without rotary
// embedding.
func TestGoldenFamilies(t *testing.T) {
	goldenFamilies(t, goldens[:4], quantizedGolden, nil)
}

func quantizedGolden(t *testing.T, m *model.Model, o *export.Options) []float64 {
	t.Helper()
	o.Quantized = exporttest.Quantized(t, m)
	return []float64{1e-4, 0.04}
}

// TestSlowGoldenFamilies: all of them; and in float with absolute positions, which quantized
// graphs do not have, and with embeddings that the graph looks up.
func TestSlowGoldenFamilies(t *testing.T) {
	testfiles.Slow(t)
	goldenFamilies(t, goldens[4:], quantizedGolden, nil)
	goldenFamilies(t, goldens, func(_ *testing.T, _ *model.Model, o *export.Options) []float64 {
		o.Inputs = lower.InputIDs
		return []float64{1e-4}
	}, func(s *model.Spec) { s.Positions = model.PositionsAbsolute })
}

// goldens are golden checkpoints, those that differ most from each other first.
var goldens = []string{"gemma2", "smollm3", "hunyuan", "stablelm", "exaone4", "bluelm", "ernie4_5", "internlm2", "granite", "olmo2"}

// goldenFamilies exports every named checkpoint with a block that change has changed, as set says,
// which returns the largest difference of a logit allowed to each precision.
func goldenFamilies(t *testing.T, names []string, set func(*testing.T, *model.Model, *export.Options) []float64, change func(*model.Spec)) {
	t.Helper()
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			b, err := model.LoadBase(testfiles.Base(t, name))
			if err != nil {
				t.Fatal(err)
			}
			m, o := exporttest.Join(t, b, exporttest.Block(change)), options()
			bounds := set(t, m, &o)
			_, info := exported(t, m, o)
			for i, bound := range bounds {
				if v := info.Verification[i]; v.MaxLogitError > bound || v.Written == 0 {
					t.Errorf("%+v: want at most %g, with tokens in memory", v, bound)
				}
			}
		})
	}
}

// TestSlidingKeysTurnBack: with absolute positions keys are stored turned, and are turned
// back by the frequencies of their layer before the memory takes them up.
func TestSlidingKeysTurnBack(t *testing.T) {
	orttest.Require(t)
	block := exporttest.Block(func(s *model.Spec) { s.Positions, s.Feature = model.PositionsAbsolute, model.FeatureELU })
	_, info := exported(t, exporttest.Model(t, block, families["sliding window"]), options())
	if v := info.Verification[0]; v.MaxLogitError > 1e-4 || v.Written == 0 {
		t.Errorf("%+v: want at most 1e-4, with tokens in memory", v)
	}
	if k := info.Kinds; len(k) != 2 || k[1].Window != 7 || !slices.Equal(k[1].Layers, []int{1}) || k[1].Rope.Theta != 50 {
		t.Errorf("kinds of layers %+v, want a second one with a window of 7 in layer 1 with theta 50", k)
	}
}

// TestVerifySeesEveryParameter: a comparison that a trained parameter does not change
// would not see that the graphs have it wrong. What the graphs differ by otherwise is
// below 1e-5.
func TestVerifySeesEveryParameter(t *testing.T) {
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	for _, change := range []func(*model.Spec){
		func(s *model.Spec) { s.Map = true },
		func(s *model.Spec) { s.WriteGate, s.Slots, s.Window = true, 0, 11 },
		func(s *model.Spec) { s.Gate = model.GateMass },
	} {
		m := exporttest.Model(t, exporttest.Block(change), nil)
		dir, _ := exported(t, m, options())
		for _, p := range m.Params.Layers[1].List() {
			was := slices.Clone(p.Data)
			for i := range p.Data {
				p.Data[i] += 0.5 * float32(1+i%3)
			}
			figures, err := export.Verify(t.Context(), dir, m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if e := figures[0].MaxLogitError; e < 1e-4 {
				t.Errorf("%s changed: the largest difference of a logit is %g", p.Name, e)
			}
			copy(p.Data, was)
		}
	}
}

// TestVerifyAnotherBlock: with the same parameters, graphs of another window are not compared
// as if it were the model's.
func TestVerifyAnotherBlock(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.NoVerify = true
	dir, _ := exported(t, m, o)
	for _, change := range []func(*model.Spec){
		func(s *model.Spec) { s.Window++ },
		func(s *model.Spec) { s.Sink++ },
		func(s *model.Spec) { s.Window += 1000 },
	} {
		spec := m.Spec
		change(&spec)
		other, err := model.New(m.Base, spec, m.Params)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := export.Verify(t.Context(), dir, other, nil); err == nil || !strings.Contains(err.Error(), "the folder belongs to another run: name that one with --run") {
			t.Errorf("%d sinks, window %d: %v", spec.Sink, spec.Window, err)
		}
	}
}

// TestShapes exports two shapes over one weights file; of equal cache, they share the
// generation graph.
func TestShapes(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.Sizes, o.Inputs, o.NoVerify = append(o.Sizes, export.Size{Tokens: 6, Cache: 17}), lower.InputIDs, true
	dir, info := exported(t, m, o)
	var files []string
	for _, f := range info.Files {
		files = append(files, f.Name)
	}
	if want := []string{"1t17c.onnx", "4t17c.onnx", "6t17c.onnx", "commit-4t.onnx", "commit-6t.onnx", "manifest.schema.json", "runtime.md", "weights.bin", "report.html"}; !slices.Equal(files, want) {
		t.Errorf("files %v, want %v", files, want)
	}
	if got := info.Shapes[1]; got.Slots != 4 || got.Segment != 6 || got.Window != 5 {
		t.Errorf("shape %+v, want 4 slots beside a segment of 6 and a window of 5", got)
	}
	if len(info.Graphs) != 6 || info.Embeddings != "" {
		t.Errorf("%d graphs, embeddings in %q", len(info.Graphs), info.Embeddings)
	}
	if read, err := manifest.Read(dir); err != nil || len(read.Graphs) != 6 {
		t.Errorf("the manifest does not read back: %v", err)
	}
}

// TestPortsOfTheContract holds names and order of the ports to the fixed-shape contract.
func TestPortsOfTheContract(t *testing.T) {
	o := options()
	o.NoVerify = true
	_, info := exported(t, exporttest.Model(t, exporttest.Block(nil), nil), o)
	graphs := info.Of("4x17", manifest.Float)
	names := func(ports []manifest.Port) string {
		var list []string
		for _, p := range ports {
			list = append(list, p.Name)
		}
		return strings.Join(list, " ")
	}
	for _, c := range []struct{ what, got, want string }{
		{
			"inputs", names(graphs[manifest.PromptGraph].Inputs),
			"input_embeds attention_mask position_cos position_sin cache_cos cache_sin past_key_0_in past_value_0_in past_key_1_in past_value_1_in past_mem_0_in past_memz_0_in past_mem_1_in past_memz_1_in",
		},
		{
			"outputs", names(graphs[manifest.GenerationGraph].Outputs),
			"logits past_key_0_out past_value_0_out past_key_1_out past_value_1_out retention_0_out retention_1_out",
		},
		{
			"inputs of commit", names(graphs[manifest.CommitGraph].Inputs),
			"memory_decay evicted_key_0 evicted_value_0 evicted_weight_0 evicted_key_1 evicted_value_1 evicted_weight_1 past_mem_0_in past_memz_0_in past_mem_1_in past_memz_1_in",
		},
		{
			"outputs of commit", names(graphs[manifest.CommitGraph].Outputs),
			"past_mem_0_out past_memz_0_out past_mem_1_out past_memz_1_out",
		},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s\nwant %s", c.what, c.got, c.want)
		}
	}
}

func TestFit(t *testing.T) {
	slots := model.Spec{Sink: 8, Window: 256, Segment: 256, Slots: 256}
	window := model.Spec{Sink: 8, Window: 256, Segment: 256}
	for _, c := range []struct {
		size         export.Size
		block        model.Spec
		slots, width int
		err          string
	}{
		{export.Size{Tokens: 512, Cache: 2048}, slots, 1272, 256, ""},
		{export.Size{Tokens: 256, Cache: 776}, slots, 256, 256, ""},
		{export.Size{Tokens: 1, Cache: 266}, slots, 1, 256, ""},
		{export.Size{Tokens: 512, Cache: 2048}, window, 0, 1528, ""},
		{export.Size{Tokens: 512, Cache: 776}, slots, 0, 0, "shape 512x776 does not fit: a cache of 776 must hold 8 sinks, a window of 256, a segment of 512 and at least one slot, 777 in all; want 512x777 or larger, or at most 511x776"},
		{export.Size{Tokens: 32, Cache: 1<<20 + 1}, slots, 0, 0, "shape 32x1048577 has 1048577 tokens or places; it must have at most 1048576"},
		{export.Size{Tokens: math.MaxInt, Cache: math.MaxInt}, slots, 0, 0, "shape 9223372036854775807x9223372036854775807 has 9223372036854775807 tokens or places; it must have at most 1048576"},
		{export.Size{Tokens: 128, Cache: 200}, window, 0, 0, "shape 128x200 does not fit: a cache of 200 must hold 8 sinks, a window of 256, a segment of 128, 392 in all; want 128x392 or larger"},
	} {
		got, err := c.size.Fit(c.block)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: got %v, want %s", c.size, err, c.err)
			}
			continue
		}
		if err != nil || got.Slots != c.slots || got.Window != c.width || got.Segment != c.size.Tokens || got.Capacity() != c.size.Cache {
			t.Errorf("%s: got %+v (%v), want %d slots and a window of %d", c.size, got, err, c.slots, c.width)
		}
	}
}

func TestErrors(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	small := exporttest.Model(t, exporttest.Block(nil), nil)
	for _, c := range []struct {
		name   string
		model  *model.Model
		out    string
		ctx    context.Context
		change func(*export.Options)
		want   string
	}{
		{"exists", small, taken, t.Context(), func(*export.Options) {}, "the folder exists: " + taken},
		{"is a file", small, taken, t.Context(), func(o *export.Options) { o.Replace = true }, "it is there and is not a folder"},
		{"no shape", small, "", t.Context(), func(o *export.Options) { o.Sizes = nil }, "there is no shape to export"},
		{"too small", small, "", t.Context(), func(o *export.Options) { o.Sizes[0].Cache = 11 }, "shape 4x11 does not fit: a cache of 11 must hold 2 sinks, a window of 5, a segment of 4 and at least one slot, 12 in all; want 4x12 or larger, or at most 3x11"},
		{"twice", small, "", t.Context(), func(o *export.Options) { o.Sizes = append(o.Sizes, size) }, "shape 4x17 is given twice"},
		{"nothing quantized", small, "", t.Context(), func(o *export.Options) { o.QuantizedOnly = true }, "there is no quantized model to export alone"},
		{"cancelled", small, "", cancelled, func(*export.Options) {}, "context canceled"},
		{
			"absolute and quantized", exporttest.Model(t, exporttest.Block(func(s *model.Spec) { s.Positions = model.PositionsAbsolute }), nil), "", t.Context(),
			func(o *export.Options) { o.Quantized = exporttest.Quantized(t, small) }, "quantized graphs need positions: compact",
		},
		{
			"other base", exporttest.Model(t, exporttest.Block(nil), func(c *hf.Config) { c.VocabSize = 60 }), "", t.Context(),
			func(o *export.Options) { o.Quantized = exporttest.Quantized(t, small) }, "the quantized files belong to another model",
		},
		{
			"beyond the rotary limit", exporttest.Model(t, exporttest.Block(nil), func(c *hf.Config) {
				c.Rope = hf.Rope{Type: "dynamic", Theta: 1e4, Factor: 2, OriginalMaxPositionEmbeddings: 16}
			}), "", t.Context(), func(*export.Options) {}, "shape 4x17 has positions beyond 16",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.ctx == cancelled {
				orttest.Require(t) // nothing else waits
			}
			parent := t.TempDir()
			out := c.out
			if out == "" {
				out = filepath.Join(parent, "out")
			}
			o := options()
			c.change(&o)
			if _, _, err := export.Export(c.ctx, c.model, out, o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if left, _ := os.ReadDir(parent); len(left) > 0 {
				t.Errorf("%v is left behind", left)
			}
		})
	}
}

// TestReplace: an export takes the place of another one only when it is asked to.
func TestReplace(t *testing.T) {
	m, o := exporttest.Model(t, exporttest.Block(nil), nil), options()
	o.NoVerify = true
	out, _ := exported(t, m, o)
	if _, _, err := export.Export(t.Context(), m, out, o); !errors.Is(err, export.ErrExists) {
		t.Errorf("got %v, want %v", err, export.ErrExists)
	}
	o.Replace, o.Inputs = true, lower.InputIDs
	info, _, err := export.Export(t.Context(), m, out, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, export.EmbeddingsFile)); !errors.Is(err, os.ErrNotExist) || info.Embeddings != "" {
		t.Errorf("a file of the old export is still there (%v)", err)
	}
}

// TestCheckFindsAnotherModel: graphs that compute something else do not pass.
func TestCheckFindsAnotherModel(t *testing.T) {
	orttest.Require(t)
	o := options()
	o.NoVerify = true
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	dir, _ := exported(t, m, o)
	m.Params.Layers[0].Gate[0].Data[0]++
	report, err := export.Check(t.Context(), dir, check.NoTarget, export.Against{Model: m})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err == nil || !strings.HasPrefix(err.Error(), "the float graphs of 4x17 differ from the Go model: largest difference") {
		t.Errorf("got %v", err)
	}
}

// TestCheckFindsDamage: a changed weight is a finding, and what breaks the contract is
// not run.
func TestCheckFindsDamage(t *testing.T) {
	o := options()
	o.NoVerify = true
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	dir, _ := exported(t, m, o)
	path := filepath.Join(dir, export.WeightsFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[0]++
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := export.Check(t.Context(), dir, check.NoTarget, export.Against{Model: m})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "error: manifest.json: files[") || report.Verification != nil {
		t.Errorf("got %v, %+v", err, report.Verification)
	}
}

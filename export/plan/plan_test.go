package plan_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/exporttest"
	"eisft/export/ir"
	"eisft/export/lower"
	"eisft/export/ort/orttest"
	"eisft/export/plan"
	"eisft/model"
	"eisft/quant"
)

// TestFiles: every device and scenario of the repository is read.
func TestFiles(t *testing.T) {
	for kind, load := range map[string]func(string) error{
		"devices":   func(path string) error { _, err := plan.LoadDevice(path); return err },
		"scenarios": func(path string) error { _, err := plan.LoadScenario(path); return err },
	} {
		files, err := filepath.Glob(filepath.Join("..", "..", "configs", kind, "*.yaml"))
		if err != nil || len(files) < 4 {
			t.Fatalf("%d files of %s (%v)", len(files), kind, err)
		}
		for _, f := range files {
			if err := load(f); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestBadDevices(t *testing.T) {
	const good = `name: x
rates: {a16w8: 2, float16: 1}
bandwidth: 10
memory: 100
sources: [{figures: all, from: here, date: today}]
`
	for name, c := range map[string]struct{ old, new, want string }{
		"key":       {"bandwidth", "band_width", `band_width is not a known key; did you mean "bandwidth"?`},
		"rate":      {"a16w8", "a16w7", "did you mean"},
		"negative":  {"a16w8: 2", "a16w8: -2", "rates.a16w8"},
		"no float":  {", float16: 1", "", "has neither float16 nor float32"},
		"bandwidth": {"10", "0", "bandwidth is 0; it must be above 0"},
		"target":    {"name: x", "name: x\ntarget: qnm", `did you mean "qnn"?`},
		"sources":   {"sources: [{figures: all, from: here, date: today}]", "sources: []", "say where the figures are from"},
		"kind":      {"memory: 100", "memory: lots", "memory"},
	} {
		path := filepath.Join(t.TempDir(), "device.yaml")
		if err := os.WriteFile(path, []byte(strings.Replace(good, c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := plan.LoadDevice(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q with the file", name, err, c.want)
		}
	}
	if _, err := plan.LoadDevice("snapdragon-9"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a device that is not there: %v", err)
	}
}

// TestOperationsAreTheGraphs: what is counted of a run is what the graph multiplies.
func TestOperationsAreTheGraphs(t *testing.T) {
	for name, change := range map[string]func(*model.Spec){
		"slots and memory":  nil,
		"slots in a layer":  func(s *model.Spec) { s.SlotLayers = []int{1} },
		"window":            func(s *model.Spec) { s.Slots, s.Memory, s.Gate, s.Feature = 0, model.MemoryNone, "", "" },
		"ELU and read map":  func(s *model.Spec) { s.Feature, s.Map = model.FeatureELU, true },
		"gate without term": func(s *model.Spec) { s.Gate = model.GateMass },
	} {
		m := exporttest.Model(t, exporttest.Block(change), nil)
		size := export.Size{Tokens: 4, Cache: m.Spec.Capacity()}
		p, err := plan.New(m, device(), plan.Options{Sizes: []export.Size{size}})
		if err != nil {
			t.Fatal(err)
		}
		g := ir.NewGraph("main", ir.Options{})
		lower.Source{Model: m, Inputs: lower.InputEmbeds, Logits: lower.LogitsLast}.Main(g, 4)
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		// Feature maps of keys and writes are the commit graph's: none has happened yet.
		if got, want := p.Candidates[0].Operations["float"], 2*g.MACs().All; got != want {
			t.Errorf("%s: %g operations, the graph has %g", name, got, want)
		}
	}
}

// device is one whose predictions can be followed by hand.
func device() *plan.Device {
	return &plan.Device{
		Name: "test", Rates: plan.Rates{A16W8: 1, Float16: 1}, Bandwidth: 1, Memory: 1000, ComputeShare: 1, BandwidthShare: 1,
	}
}

// TestPrediction: decoding is bound by the bytes that a token reads, reading by products.
func TestPrediction(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(func(s *model.Spec) { s.Slots, s.Memory, s.Gate, s.Feature = 0, model.MemoryNone, "", "" }), nil)
	size := []export.Size{{Tokens: 4, Cache: 11}}
	slow := device()
	slow.Bandwidth = 1e-6 // 1,000 bytes a second
	p, err := plan.New(m, slow, plan.Options{Sizes: size})
	if err != nil {
		t.Fatal(err)
	}
	bytes := 0.0
	for _, l := range m.Base.Layers {
		for _, f := range l.Maps() {
			bytes += 2 * float64(f.In*f.Out)
		}
	}
	bytes += 2 * float64(m.Base.Head.In*m.Base.Head.Out)
	bytes += 2 * 12 * 2 * 2 * float64(m.Base.Dims.KVHeads*m.Base.Dims.HeadDim) // 2 layers, keys and values with the new token's, 2 bytes
	if c := p.Candidates[0]; math.Abs(c.Tokens-1000/bytes) > 1e-6*c.Tokens || c.Bound != "memory" {
		t.Errorf("%g tokens/s bound by %s, want %g by memory", c.Tokens, c.Bound, 1000/bytes)
	}
	weak := device()
	weak.Rates.Float16 = 1e-9 // 1,000 operations a second
	if p, err = plan.New(m, weak, plan.Options{Sizes: size}); err != nil {
		t.Fatal(err)
	}
	c := p.Candidates[0]
	if want := c.Operations["float"] / 1000 * 2048 / 4; math.Abs(c.FirstToken[0]/want-1) > 0.1 || c.Bound != "products" { // the head works once
		t.Errorf("2,048 tokens take %g s bound by %s, want about %g by products", c.FirstToken[0], c.Bound, want)
	}
}

// TestPadding: a stretch that does not fill a segment takes a whole run.
func TestPadding(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	first := func(prompt int) float64 {
		weak := device()
		weak.Rates.Float16 = 1e-9 // products take all the time
		p, err := plan.New(m, weak, plan.Options{
			Sizes: []export.Size{{Tokens: 4, Cache: 17}}, Scenario: &plan.Scenario{Name: "x", Prompt: prompt, Answer: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		return p.Candidates[0].ScenarioFirst
	}
	if six, seven := first(6), first(7); six != seven || six <= 1.5*first(3) {
		t.Errorf("6 tokens take %g s, 7 take %g and 3 %g", six, seven, first(3))
	}
}

// TestChoice: the shape with the largest cache within all bounds, and why none does.
func TestChoice(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	scheme, err := quant.ParseScheme("w8a16")
	if err != nil {
		t.Fatal(err)
	}
	d := device()
	d.MaskBytes = 2 * 4 * 8 * (64 + 8) // heads, T, C+T
	o := plan.Options{Scheme: &scheme, Sizes: []export.Size{{Tokens: 4, Cache: 32}, {Tokens: 8, Cache: 64}, {Tokens: 16, Cache: 64}}}
	p, err := plan.New(m, d, o)
	if err != nil {
		t.Fatal(err)
	}
	if p.Choice == nil || p.Choice.Size.String() != "8x64" {
		t.Errorf("it chose %+v", p.Choice)
	}
	if last := p.Candidates[2].Problems; !slices.ContainsFunc(last, func(s string) bool { return strings.Contains(s, "mask") }) {
		t.Errorf("16x64 has the problems %q", last)
	}
	// Graphs for Qualcomm add the mask in pieces that the device takes. Of one cache the faster
	// shape is taken, though its longer segment leaves less of the cache to slots.
	phone := device()
	phone.Target, phone.MaskBytes = check.QNN, check.QNNMaskBytes
	of := o
	of.Sizes = []export.Size{{Tokens: 16, Cache: 2048}, {Tokens: 512, Cache: 2048}, {Tokens: 512, Cache: 1024}}
	if p, err = plan.New(m, phone, of); err != nil {
		t.Fatal(err)
	}
	if p.Choice == nil || p.Choice.Size.String() != "512x2048" {
		t.Errorf("of %v it chose %+v: %s", of.Sizes, p.Choice, p.Why)
	}
	phone.Target = check.CoreML
	if _, err := plan.New(m, phone, of); err == nil || !strings.Contains(err.Error(), "coreml runs w4-g32") {
		t.Errorf("w8a16 for Core ML: %v", err)
	}
	o.Scenario = &plan.Scenario{Name: "x", Prompt: 100, Answer: 1, Tokens: 1e12}
	if p, err = plan.New(m, d, o); err != nil {
		t.Fatal(err)
	}
	if p.Choice != nil || !strings.Contains(p.Why, "tokens/s, below 1e+12") {
		t.Errorf("it chose %+v: %s", p.Choice, p.Why)
	}
	var text bytes.Buffer
	if err := p.WriteTable(&text); err != nil || !strings.Contains(text.String(), "predictions") || !strings.Contains(text.String(), "8x64") {
		t.Errorf("%v: %s", err, text.String())
	}
	d.Rates = plan.Rates{A8W8: 1, Float16: 1}
	o.Scenario = nil
	_, err = plan.New(m, d, o)
	if want := "no rate for a16w8 (bits of activations and weights), which w8a16 multiplies; it can be planned for in none (float), w4-g32, w4-g64, w4-g128, w8a8, w4a8"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a device without 16 bits: %v", err)
	}
}

// TestMeasure: what this machine is measured as is a device.
func TestMeasure(t *testing.T) {
	orttest.Require(t)
	d, err := plan.MeasureOnce(t.Context(), t)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "here.yaml")
	if err := d.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := plan.LoadDevice(path)
	if err != nil {
		t.Fatal(err)
	}
	if back.Rates != d.Rates || back.Bandwidth != d.Bandwidth || back.Ops != d.Ops || d.Ops.Products == 0 || d.Ops.Softmax == 0 || d.Ops.Moved == 0 || d.Ops.Near == 0 || !(d.Rates.Float32 > 1e-4) || !(d.Bandwidth > 0.01) {
		t.Errorf("%+v was written, %+v is read", d, back)
	}
}

package tflite_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eisft/export/emit"
	"eisft/export/exporttest"
	"eisft/export/ir"
	"eisft/export/lower"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/export/tflite"
	"eisft/export/tflite/litert"
	"eisft/export/tflite/litert/litertest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/quant"
)

// write writes signatures into a file, and opens it in LiteRT.
func write(t *testing.T, signatures []tflite.Signature, o tflite.Options) (path string, m *litert.Model) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "model.tflite")
	f := tflite.NewFile(o)
	for _, s := range signatures {
		if _, err := f.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	return path, litertest.Open(t, path)
}

// graphs are the three graphs of a model.
func graphs(s lower.Source) []tflite.Signature {
	var list []tflite.Signature
	for _, g := range []struct {
		name  string
		build func(g *ir.Graph) lower.Ports
	}{
		{"prefill", func(g *ir.Graph) lower.Ports { return s.Main(g, s.Model.Spec.Segment) }},
		{"decode", func(g *ir.Graph) lower.Ports { return s.Main(g, 1) }},
		{"commit", s.Commit},
	} {
		graph := ir.NewGraph(g.name, ir.Options{})
		g.build(graph)
		list = append(list, tflite.Signature{Name: g.name, Graph: graph})
	}
	return list
}

// cases are models whose graphs have every op between them.
var cases = map[string]func(t *testing.T) lower.Source{
	"delta rule, Hedgehog, column": func(t *testing.T) lower.Source {
		block := exporttest.Block(func(s *model.Spec) { s.Memory = model.MemoryDelta })
		return lower.Source{Model: exporttest.Model(t, block, nil), Inputs: lower.InputEmbeds, Logits: lower.LogitsAll}
	},
	"slow: ELU, mass gate, absolute positions, biases, ids": func(t *testing.T) lower.Source {
		block := exporttest.Block(func(s *model.Spec) {
			s.Feature, s.Gate, s.Positions, s.Map = model.FeatureELU, model.GateMass, model.PositionsAbsolute, true
		})
		m := exporttest.Model(t, block, func(c *hf.Config) { c.AttentionBias, c.QKNorm = true, true })
		return lower.Source{Model: m, Inputs: lower.InputIDs, Logits: lower.LogitsLast}
	},
	"GELU, caps, output norms, sliding layers, a gate that mixes": func(t *testing.T) lower.Source {
		block := exporttest.Block(func(s *model.Spec) { s.Gate, s.SlotLayers = model.GateVector, []int{1} })
		b, err := model.LoadBase(testfiles.Base(t, "gemma2"))
		if err != nil {
			t.Fatal(err)
		}
		return lower.Source{Model: exporttest.Join(t, b, block), Inputs: lower.InputEmbeds, Logits: lower.LogitsAll}
	},
	"slow: LayerNorm, partial rotary embedding": func(t *testing.T) lower.Source {
		b, err := model.LoadBase(testfiles.Base(t, "stablelm"))
		if err != nil {
			t.Fatal(err)
		}
		return lower.Source{Model: exporttest.Join(t, b, exporttest.Block(nil)), Inputs: lower.InputEmbeds, Logits: lower.LogitsAll}
	},
}

// TestFloatAsInONNXRuntime: every signature gives what the ONNX graph gives, on random inputs.
func TestFloatAsInONNXRuntime(t *testing.T) { floatCases(t, false) }

// TestSlowFloatAsInONNXRuntime: so do other models.
func TestSlowFloatAsInONNXRuntime(t *testing.T) {
	testfiles.Slow(t)
	floatCases(t, true)
}

func floatCases(t *testing.T, slow bool) {
	orttest.Require(t)
	litertest.Require(t)
	for name, source := range cases {
		if strings.HasPrefix(name, "slow: ") != slow {
			continue
		}
		t.Run(name, func(t *testing.T) {
			signatures := graphs(source(t))
			_, l := write(t, signatures, tflite.Options{})
			for _, s := range signatures {
				t.Run(s.Name, func(t *testing.T) { asInONNX(t, l, s, emit.Float, 1e-4) })
			}
		})
	}
}

// TestComposites: norms that are kept together give what their ops give, in float and beside codes,
// and equal ones share their ops.
func TestComposites(t *testing.T) {
	orttest.Require(t)
	litertest.Require(t)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	for _, s := range []lower.Source{
		{Model: m, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll},
		{Model: m, Quantized: exporttest.QuantizedAs(t, m, exporttest.Scheme(t, "w8a16", quant.LiteRT)), Inputs: lower.InputEmbeds, Logits: lower.LogitsAll},
	} {
		signatures := graphs(s)[:2]
		path, together := write(t, signatures, tflite.Options{Quantized: s.Quantized != nil, Composites: true})
		_, apart := write(t, signatures, tflite.Options{Quantized: s.Quantized != nil})
		read, err := tflite.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, g := range signatures {
			if got, want := read.Signatures[i].Ops["STABLEHLO_COMPOSITE"], 2*len(m.Base.Layers)+1; got != want {
				t.Errorf("%s has %d composites, want %d", g.Name, got, want)
			}
			form := emit.Float
			if s.Quantized != nil {
				form = emit.QDQ
			}
			_, want := both(t, apart, g, form)
			_, got := both(t, together, g, form)
			for name := range want {
				if !reflect.DeepEqual(want[name], got[name]) {
					t.Errorf("%s: %s is not what it is without composites", g.Name, name)
				}
			}
		}
	}
}

// asInONNX holds what a signature makes to what the graph makes in an emitter's form, within a
// share of the largest number; of codes, one more or less is LiteRT's rounding.
func asInONNX(t *testing.T, l *litert.Model, s tflite.Signature, form string, share float64) {
	t.Helper()
	want, got := both(t, l, s, form)
	for name, w := range want {
		least := 0.0
		if _, isFloat := w.Data.([]float32); !isFloat {
			least = 1
		}
		near(t, name, numbers(t, got[name]), numbers(t, w.Data), share, least)
	}
}

// both runs a signature in ONNX Runtime, in an emitter's form, and in LiteRT on the same
// random inputs.
func both(t *testing.T, l *litert.Model, s tflite.Signature, form string) (want map[string]ort.Tensor, got map[string]any) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "graph.onnx")
	if err := emit.Emitters.Get(form).Emit(s.Graph, s.Name, ir.Options{}).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	session, err := ort.Open(path, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	given, data := map[string]ort.Tensor{}, map[string]any{}
	for _, in := range session.Inputs() {
		given[in.Name] = ort.Tensor{Shape: in.Shape, Data: input(in)}
		data[in.Name] = given[in.Name].Data
	}
	if want, err = session.Run(given); err != nil {
		t.Fatal(err)
	}
	made, err := ort.Tensors(session.Outputs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got = map[string]any{}
	for name, o := range made {
		got[name] = o.Data
	}
	if err := l.Run(s.Name, data, got); err != nil {
		t.Fatal(err)
	}
	return want, got
}

// input draws numbers for an input, the same for the same name.
func input(in ir.Port) any {
	n := 1
	for _, size := range in.Shape {
		n *= int(size)
	}
	random := rand.New(rand.NewPCG(uint64(len(in.Name)), uint64(n)))
	switch in.DType {
	case ir.Int32:
		return draw(n, func() int32 { return random.Int32N(40) })
	case ir.Int8:
		return draw(n, func() int8 { return int8(random.IntN(200) - 100) })
	case ir.Int16:
		return draw(n, func() int16 { return int16(random.IntN(20000) - 10000) })
	}
	return draw(n, random.Float32) // positive: masses are divided by
}

func draw[T any](n int, next func() T) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = next()
	}
	return x
}

// numbers are those of a tensor.
func numbers(t *testing.T, data any) []float64 {
	t.Helper()
	v := reflect.ValueOf(data)
	x := make([]float64, v.Len())
	for i := range x {
		if e := v.Index(i); e.CanInt() {
			x[i] = float64(e.Int())
		} else {
			x[i] = e.Float()
		}
	}
	return x
}

// near holds got to want within a share of the largest number, or least.
func near(t *testing.T, name string, got, want []float64, share, least float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d numbers, want %d", name, len(got), len(want))
		return
	}
	most, worst := 0.0, 0.0
	for i, w := range want {
		most = max(most, math.Abs(w))
		if d := math.Abs(got[i] - w); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= max(least, share*most)) {
		t.Errorf("%s is off by %g, and its largest number is %g", name, worst, most)
	}
}

// quantizedCases are models, quantized by the scheme that the name begins with, and the share of
// the largest number by which LiteRT's rounding may change a result.
var quantizedCases = map[string]struct {
	change func(*hf.Config)
	block  func(*model.Spec)
	share  float64
	slow   bool
}{
	"w8a16":       {share: 0.01, slow: true},
	"w8a16-mixed": {share: 0.01, slow: true},
	"w4a16 biases, head norms": {func(c *hf.Config) {
		c.AttentionBias, c.AttentionOutputBias, c.MLPBias, c.QKNorm = true, true, true, true
	}, nil, 0.01, false},
	"w8a16 GELU, caps, output norms, scaled residuals": {func(c *hf.Config) {
		c.HiddenAct, c.PostNorms, c.AttentionSoftcap, c.FinalLogitSoftcap, c.ResidualScale = string(model.GELUTanh), true, 1.5, 3, 0.22
	}, func(s *model.Spec) { s.Feature, s.Gate = model.FeatureELU, model.GateMass }, 0.01, false},
	"w8a8 biases, partial rotary embedding": {func(c *hf.Config) {
		c.AttentionBias, c.MLPBias, c.Rope.PartialRotaryFactor = true, true, 0.5
	}, func(s *model.Spec) { s.SlotLayers = []int{1} }, 0.1, false},
}

// TestQuantizedAsInONNXRuntime: in whole numbers every signature gives what the ONNX graph
// gives, but for LiteRT's own rounding.
func TestQuantizedAsInONNXRuntime(t *testing.T) { wholeCases(t, false) }

// TestSlowQuantizedAsInONNXRuntime: so do other models.
func TestSlowQuantizedAsInONNXRuntime(t *testing.T) {
	testfiles.Slow(t)
	wholeCases(t, true)
}

func wholeCases(t *testing.T, slow bool) {
	orttest.Require(t)
	litertest.Require(t)
	for name, c := range quantizedCases {
		if c.slow != slow {
			continue
		}
		t.Run(name, func(t *testing.T) {
			m := exporttest.Model(t, exporttest.Block(c.block), c.change)
			scheme, _, _ := strings.Cut(name, " ")
			q := exporttest.QuantizedAs(t, m, exporttest.Scheme(t, scheme, quant.LiteRT))
			signatures := graphs(lower.Source{Model: m, Quantized: q, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll})
			_, l := write(t, signatures, tflite.Options{Quantized: true})
			for _, s := range signatures {
				t.Run(s.Name, func(t *testing.T) { asInONNX(t, l, s, emit.QDQ, c.share) })
			}
		})
	}
}

// TestEveryOp: the models of the two tests above have every op that files may have, those of
// whole numbers in 8 and 16 bits.
func TestEveryOp(t *testing.T) {
	seen := map[string]bool{}
	for _, source := range cases {
		f := tflite.NewFile(tflite.Options{})
		for _, s := range graphs(source(t)) {
			ops, err := f.Add(s)
			if err != nil {
				t.Fatal(err)
			}
			for op := range ops {
				seen[op] = true
			}
		}
	}
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	s := lower.Source{Model: m, Quantized: exporttest.Quantized(t, m), Inputs: lower.InputEmbeds}
	ops, err := tflite.NewFile(tflite.Options{Quantized: true, Composites: true}).Add(graphs(s)[0])
	if err != nil {
		t.Fatal(err)
	}
	for op := range ops {
		seen[op] = true
	}
	for _, op := range tflite.Ops() {
		if !seen[op] {
			t.Errorf("no graph of these tests has %s", op)
		}
	}
}

// TestRead: what is read of a file is what was written.
func TestRead(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	q := exporttest.QuantizedAs(t, m, exporttest.Scheme(t, "w4a16", quant.LiteRT))
	f := tflite.NewFile(tflite.Options{Quantized: true, Metadata: map[string]string{"a": "b"}})
	ops, err := f.Add(graphs(lower.Source{Model: m, Quantized: q, Inputs: lower.InputEmbeds})[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.tflite")
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	read, err := tflite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Signatures) != 1 || read.Signatures[0].Name != "prefill" || read.Metadata["a"] != "b" {
		t.Fatalf("%d signatures, metadata %v", len(read.Signatures), read.Metadata)
	}
	s := read.Signatures[0]
	if !maps.Equal(s.Ops, ops) {
		t.Errorf("ops %v, want %v", s.Ops, ops)
	}
	weights := 0
	for _, x := range s.Tensors {
		w := q.Weight(x.Point())
		if w == nil {
			continue
		}
		weights++
		codes, err := x.Integers()
		if err != nil {
			t.Fatal(err)
		}
		if !x.Encoding.Equal(w.Encoding) || !slices.EqualFunc(codes, w.Codes, func(a int64, b int8) bool { return a == int64(b) }) {
			t.Errorf("%s differs from the quantized model's", x.Name)
		}
	}
	if weights != len(q.Weights) {
		t.Errorf("%d of %d weights", weights, len(q.Weights))
	}
}

// FuzzParse: no bytes make the parser panic, or take more memory than a few times their own.
func FuzzParse(f *testing.F) {
	g := ir.NewGraph("g", ir.Options{})
	g.Output("y", g.Add(g.Input("x", ir.Float32, 1, 2), g.Const("c", []int{2}, []float32{1, 2})))
	file := tflite.NewFile(tflite.Options{Metadata: map[string]string{"k": "v"}})
	if _, err := file.Add(tflite.Signature{Name: "s", Graph: g}); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "model.tflite")
	if err := file.Write(path); err != nil {
		f.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(_ *testing.T, raw []byte) {
		if m, err := tflite.Parse("fuzz", raw); err == nil {
			for _, s := range m.Signatures {
				for _, x := range s.Tensors {
					_, _ = x.Integers()
				}
			}
		}
	})
}

package tflite_test

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
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
func graphs(s lower.Source, tokens int) []tflite.Signature {
	var list []tflite.Signature
	for _, g := range []struct {
		name  string
		build func(g *ir.Graph) lower.Ports
	}{
		{"prefill", func(g *ir.Graph) lower.Ports { return s.Main(g, tokens) }},
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
	"ELU, mass gate, absolute positions, biases, ids": func(t *testing.T) lower.Source {
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
	"LayerNorm, partial rotary embedding": func(t *testing.T) lower.Source {
		b, err := model.LoadBase(testfiles.Base(t, "stablelm"))
		if err != nil {
			t.Fatal(err)
		}
		return lower.Source{Model: exporttest.Join(t, b, exporttest.Block(nil)), Inputs: lower.InputEmbeds, Logits: lower.LogitsAll}
	},
}

// TestFloatAsInONNXRuntime: every signature gives what the ONNX graph gives, on random inputs.
func TestFloatAsInONNXRuntime(t *testing.T) {
	orttest.Require(t)
	for name, source := range cases {
		t.Run(name, func(t *testing.T) {
			s := source(t)
			signatures := graphs(s, s.Model.Spec.Segment)
			_, l := write(t, signatures, tflite.Options{})
			for _, s := range signatures {
				t.Run(s.Name, func(t *testing.T) { sameAsONNX(t, l, s) })
			}
		})
	}
}

func sameAsONNX(t *testing.T, l *litert.Model, s tflite.Signature) {
	want, got := both(t, l, s, emit.Float)
	for name, w := range want {
		near(t, name, numbers(t, got[name]), numbers(t, w.Data), 1e-4)
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

// near holds got to want within a share of the largest number.
func near(t *testing.T, name string, got, want []float64, share float64) {
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
	if !(worst <= share*most) {
		t.Errorf("%s is off by %g, and its largest number is %g", name, worst, most)
	}
}

// TestQuantizedAsInONNXRuntime: in whole numbers every signature gives what the ONNX graph
// gives, but for LiteRT's own rounding.
func TestQuantizedAsInONNXRuntime(t *testing.T) {
	orttest.Require(t)
	for name, share := range map[string]float64{"w8a16": 0.02, "w8a16-mixed": 0.02, "w4a16": 0.02, "w8a8": 0.1} {
		t.Run(name, func(t *testing.T) {
			m := exporttest.Model(t, exporttest.Block(nil), nil)
			q := exporttest.QuantizedAs(t, m, exporttest.Scheme(t, name, quant.LiteRT))
			signatures := graphs(lower.Source{Model: m, Quantized: q, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll}, m.Spec.Segment)
			_, l := write(t, signatures, tflite.Options{Quantized: true})
			for _, s := range signatures {
				t.Run(s.Name, func(t *testing.T) {
					want, got := both(t, l, s, emit.QDQ)
					for name, w := range want {
						near(t, name, numbers(t, got[name]), numbers(t, w.Data), share)
					}
				})
			}
		})
	}
}

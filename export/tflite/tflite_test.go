package tflite_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
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
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/quant"
)

// open opens a file in LiteRT, or skips.
func open(t testing.TB, path string) *litert.Model {
	t.Helper()
	folder := os.Getenv(litert.FolderVariable)
	if folder == "" {
		folder = filepath.Join("..", "..", ".cache", "litert")
	}
	m, err := litert.Open(folder, path)
	if errors.Is(err, litert.ErrAbsent) {
		t.Skip(err)
	}
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
			path := filepath.Join(t.TempDir(), "model.tflite")
			if _, err := tflite.Write(path, signatures, tflite.Options{}); err != nil {
				t.Fatal(err)
			}
			l := open(t, path)
			for _, s := range signatures {
				t.Run(s.Name, func(t *testing.T) { sameAsONNX(t, l, s) })
			}
		})
	}
}

func sameAsONNX(t *testing.T, l *litert.Model, s tflite.Signature) {
	want, got := both(t, l, s, emit.Float)
	for name, w := range want {
		near(t, name, floats(got[name]), w.Data.([]float32))
	}
}

// nearONNX compares quantized graphs.
func nearONNX(t *testing.T, l *litert.Model, s tflite.Signature) {
	want, got := both(t, l, s, emit.QDQ)
	for name, w := range want {
		t.Logf("%s: %T, %d and %d bytes", name, w.Data, len(got[name]), reflect.ValueOf(w.Data).Len())
		worst, most := 0.0, 0.0
		raw := got[name]
		for i := range reflect.ValueOf(w.Data).Len() {
			var g, want float64
			switch x := w.Data.(type) {
			case []float32:
				g, want = float64(floats(raw)[i]), float64(x[i])
			case []int8:
				g, want = float64(int8(raw[i])), float64(x[i])
			case []int16:
				g, want = float64(int16(binary.LittleEndian.Uint16(raw[2*i:]))), float64(x[i])
			}
			worst, most = max(worst, math.Abs(g-want)), max(most, math.Abs(want))
		}
		t.Logf("%s off by %g of %g", name, worst, most)
	}
}

// both runs a signature in ONNX Runtime, in an emitter's form, and in LiteRT on the same
// random inputs.
func both(t *testing.T, l *litert.Model, s tflite.Signature, form string) (want map[string]ort.Tensor, got map[string][]byte) {
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
	random := rand.New(rand.NewPCG(1, 2))
	given, bytes := map[string]ort.Tensor{}, map[string][]byte{}
	for _, in := range session.Inputs() {
		n := 1
		for _, size := range in.Shape {
			n *= int(size)
		}
		var data any
		switch in.DType {
		case ir.Int32:
			data = draw(n, func() int32 { return random.Int32N(40) })
		case ir.Int8:
			data = draw(n, func() int8 { return int8(random.IntN(200) - 100) })
		case ir.Int16:
			data = draw(n, func() int16 { return int16(random.IntN(20000) - 10000) })
		default: // positive: masses are divided by
			data = draw(n, random.Float32)
		}
		given[in.Name] = ort.Tensor{Shape: in.Shape, Data: data}
		bytes[in.Name], _ = binary.Append(nil, binary.LittleEndian, data)
	}
	if want, err = session.Run(given); err != nil {
		t.Fatal(err)
	}
	if got, err = l.Run(s.Name, bytes); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("%d outputs, want %d", len(got), len(want))
	}
	return want, got
}

func draw[T any](n int, next func() T) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = next()
	}
	return x
}

func floats(raw []byte) []float32 {
	x := make([]float32, len(raw)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return x
}

// near holds got to want within 1e-4 of the largest number.
func near(t *testing.T, name string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d numbers, want %d", name, len(got), len(want))
		return
	}
	most, worst := 0.0, 0.0
	for i, w := range want {
		most = max(most, math.Abs(float64(w)))
		if d := math.Abs(float64(got[i] - w)); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= 1e-4*most) {
		t.Errorf("%s is off by %g, and its largest number is %g", name, worst, most)
	}
}

// TestQuantizedAsInONNXRuntime: in whole numbers every signature gives what the ONNX graph
// gives, but for LiteRT's own rounding.
func TestQuantizedAsInONNXRuntime(t *testing.T) {
	orttest.Require(t)
	for _, name := range []string{"w8a16", "w4a16", "w8a8"} {
		t.Run(name, func(t *testing.T) {
			m := exporttest.Model(t, exporttest.Block(nil), nil)
			scheme, err := quant.ParseScheme(name)
			if err == nil {
				scheme, err = scheme.For(quant.LiteRT)
			}
			if err != nil {
				t.Fatal(err)
			}
			q := exporttest.QuantizedAs(t, m, scheme)
			signatures := graphs(lower.Source{Model: m, Quantized: q, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll}, m.Spec.Segment)
			path := filepath.Join(t.TempDir(), "model.tflite")
			if _, err := tflite.Write(path, signatures, tflite.Options{Quantized: true}); err != nil {
				t.Fatal(err)
			}
			l := open(t, path)
			for _, s := range signatures {
				t.Run(s.Name, func(t *testing.T) { nearONNX(t, l, s) })
			}
		})
	}
}

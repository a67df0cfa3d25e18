package tflite_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	path := filepath.Join(t.TempDir(), "graph.onnx")
	if err := emit.Emitters.Get(emit.Float).Emit(s.Graph, s.Name, ir.Options{}).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	session, err := ort.Open(path, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	random := rand.New(rand.NewPCG(1, 2))
	given, bytes := map[string]ort.Tensor{}, map[string][]byte{}
	for _, in := range session.Inputs() {
		n := 1
		for _, size := range in.Shape {
			n *= int(size)
		}
		if in.DType == ir.Int32 {
			x := make([]int32, n)
			for i := range x {
				x[i] = random.Int32N(40)
			}
			given[in.Name] = ort.Tensor{Shape: in.Shape, Data: x}
			bytes[in.Name], _ = binary.Append(nil, binary.LittleEndian, x)
			continue
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = random.Float32() // positive: masses are divided by
		}
		given[in.Name] = ort.Tensor{Shape: in.Shape, Data: x}
		bytes[in.Name], _ = binary.Append(nil, binary.LittleEndian, x)
	}
	want, err := session.Run(given)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Run(s.Name, bytes)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("%d outputs, want %d", len(got), len(want))
	}
	for name, w := range want {
		near(t, name, floats(got[name]), w.Data.([]float32))
	}
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

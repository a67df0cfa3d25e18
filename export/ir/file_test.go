package ir_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export/ir"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
)

func normal(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// writePair writes two graphs of t rows each over the same weights: y = x·w + b.
func writePair(t *testing.T, dir string) []string {
	t.Helper()
	weights, err := ir.CreateWeights(filepath.Join(dir, "weights.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Abort()
	loads := 0
	var paths []string
	for _, rows := range []int{8, 1} {
		g := ir.NewGraph("linear", ir.Options{Weights: weights})
		x := g.Input("x", ir.Float32, rows, 32)
		leave := g.Scope("layers.0")
		w := g.Stored("layers.0.w", ir.Float32, []int{32, 64}, func() (ir.Tensor, error) {
			loads++
			return ir.NewTensor([]int{32, 64}, normal(1, 32*64))
		})
		tied := g.Const("tied", []int{64, 32}, normal(1, 32*64))
		y := g.Add(g.MatMul(x, w).Named("proj"), g.Const("layers.0.b", []int{64}, normal(2, 64)))
		leave()
		y = g.MatMul(y, tied)
		g.SetMetadata("b", "2")
		g.SetMetadata("a", "1")
		g.Output("y", y)
		paths = append(paths, filepath.Join(dir, []string{"prompt.onnx", "step.onnx"}[len(paths)]))
		if err := g.WriteFile(paths[len(paths)-1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := weights.Commit(); err != nil {
		t.Fatal(err)
	}
	if loads != 1 {
		t.Errorf("the shared weight was loaded %d times, want once", loads)
	}
	return paths
}

func TestSharedWeights(t *testing.T) {
	dir := t.TempDir()
	paths := writePair(t, dir)
	info, err := os.Stat(filepath.Join(dir, "weights.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(32 * 64 * 4); info.Size() != want { // the tied copy and the small bias are not in it
		t.Errorf("weights.bin has %d bytes, want %d", info.Size(), want)
	}
	var locations []ir.External
	for _, path := range paths {
		m, err := ir.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if m.Proto.IrVersion != 10 || m.Proto.OpsetImport[0].Version != 21 {
			t.Errorf("IR %d, opset %d; want 10 and 21", m.Proto.IrVersion, m.Proto.OpsetImport[0].Version)
		}
		if m.Metadata["a"] != "1" || m.Proto.MetadataProps[0].Key != "a" {
			t.Errorf("metadata %v, want a before b", m.Proto.MetadataProps)
		}
		if name := m.Proto.Graph.Node[0].Name; name != "layers.0/proj" {
			t.Errorf("node is called %q, want layers.0/proj", name)
		}
		for _, name := range []string{"layers.0.w", "tied"} {
			at, err := ir.ExternalOf(m.Initializer(name))
			if err != nil {
				t.Fatal(err)
			}
			locations = append(locations, at)
			tensor, err := m.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tensor.Floats()
			if err != nil || !slices.Equal(got, normal(1, 32*64)) {
				t.Errorf("%s does not read back: %v", name, err)
			}
		}
	}
	for _, at := range locations {
		if at != locations[0] {
			t.Errorf("tensors of equal content lie at %v and %v", at, locations[0])
		}
	}

	orttest.Require(t)
	x := normal(3, 8*32)
	prompt := orttest.Run(t, paths[0], ort.Options{}, map[string]ort.Tensor{"x": {Shape: []int64{8, 32}, Data: x}})
	step := orttest.Run(t, paths[1], ort.Options{}, map[string]ort.Tensor{"x": {Shape: []int64{1, 32}, Data: x[:32]}})
	compare(t, step["y"].Data, prompt["y"].Data.([]float32)[:32], 1e-5)
}

func TestWriteIsDeterministic(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	writePair(t, a)
	writePair(t, b)
	for _, name := range []string{"prompt.onnx", "step.onnx", "weights.bin"} {
		x, err := os.ReadFile(filepath.Join(a, name))
		if err != nil {
			t.Fatal(err)
		}
		if y, err := os.ReadFile(filepath.Join(b, name)); err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs between two writes (%v)", name, err)
		}
	}
}

func TestWeightsErrors(t *testing.T) {
	dir := t.TempDir()
	weights, err := ir.CreateWeights(filepath.Join(dir, "weights.bin"))
	if err != nil {
		t.Fatal(err)
	}
	large := make([]float32, 1000)
	one := ir.NewGraph("one", ir.Options{Weights: weights})
	one.Const("w", []int{1000}, large)
	two := ir.NewGraph("two", ir.Options{Weights: weights})
	two.Const("w", []int{1000}, normal(1, 1000))
	if err := two.Err(); err == nil || !strings.Contains(err.Error(), `tensor "w" is already stored with other content (float32 [1000])`) {
		t.Errorf("got %v", err)
	}
	if err := one.WriteFile(filepath.Join(t.TempDir(), "one.onnx")); err == nil || !strings.Contains(err.Error(), "must be in the same folder") {
		t.Errorf("got %v", err)
	}
	weights.Abort()
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("an aborted weights file leaves %v", files)
	}
}

func TestUnneededNodesAreLeftOut(t *testing.T) {
	g := ir.NewGraph("g", ir.Options{})
	x := g.Input("x", ir.Float32, 4)
	leave := g.FloatRegion()
	y := g.Relu(x)
	leave()
	g.Add(y, g.Scalar(3)) // nobody reads it
	g.Output("y", y)
	m, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Graph.Node) != 1 || len(m.Graph.Initializer) != 0 {
		t.Errorf("%d nodes and %d initializers, want 1 and 0", len(m.Graph.Node), len(m.Graph.Initializer))
	}
	if props := m.Graph.Node[0].MetadataProps; len(props) != 1 || props[0].Key != ir.PrecisionKey {
		t.Errorf("metadata of a node kept in float: %v", props)
	}
}

// TestInt4Trap holds ONNX Runtime to what the exported 4-bit weights mean: above
// level Basic it rounds the activations to int8 unless told otherwise.
func TestInt4Trap(t *testing.T) {
	orttest.Require(t)
	const rows, in, out, block = 4, 256, 64, 32
	x, codes := normal(1, rows*in), make(ir.Nibbles, in*out)
	r := rand.New(rand.NewPCG(7, 7))
	for i := range codes {
		codes[i] = int8(r.IntN(16) - 8)
	}
	scale := make([]float32, in/block*out)
	for i := range scale {
		scale[i] = 0.01 + 0.02*r.Float32()
	}
	g := ir.NewGraph("int4", ir.Options{})
	w := g.Dequantize(g.Const("w", []int{in, out}, codes), ir.Int4.Encoding(scale, nil, 0, block))
	g.Output("y", g.MatMul(g.Input("x", ir.Float32, rows, in), w))
	path := filepath.Join(t.TempDir(), "int4.onnx")
	if err := g.WriteFile(path); err != nil {
		t.Fatal(err)
	}

	want := make([]float64, rows*out)
	for i := range want {
		for k := range in {
			j := i % out
			want[i] += float64(x[i/out*in+k]) * float64(codes[k*out+j]) * float64(scale[k/block*out+j])
		}
	}
	for _, c := range []struct {
		name  string
		o     ort.Options
		limit float64
	}{
		{"basic", ort.Options{}, 1e-6},
		{"all, float activations", ort.Options{Level: ort.All, Config: map[string]string{ort.AccuracyLevel: "1"}}, 1e-6},
		{"all", ort.Options{Level: ort.All}, 1e-1}, // int8 activations,
	} {
		y := orttest.Run(t, path, c.o, map[string]ort.Tensor{"x": {Shape: []int64{rows, in}, Data: x}})["y"].Data.([]float32)
		var num, den float64
		for i, v := range want {
			num += (float64(y[i]) - v) * (float64(y[i]) - v)
			den += v * v
		}
		e := math.Sqrt(num / den)
		t.Logf("%s: relative error %.2g", c.name, e)
		if e > c.limit {
			t.Errorf("%s: relative error %.2g, want at most %g", c.name, e, c.limit)
		}
	}
}

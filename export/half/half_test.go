package half_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/x448/float16"

	"eisft/export/half"
	"eisft/export/ir"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/quant/encoding"
)

// run writes a graph of x [4], rounds it and runs it.
func run(t *testing.T, x []float32, build func(g *ir.Graph, x *ir.Value)) (out map[string]ort.Tensor, lost string, vanishing []string) {
	t.Helper()
	orttest.Require(t)
	g := ir.NewGraph("g", ir.Options{})
	build(g, g.Input("x", ir.Float32, len(x)))
	path := filepath.Join(t.TempDir(), "g.onnx")
	if err := g.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	var weights half.Weights
	defer func() {
		if err := weights.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := ort.OpenAltered(path, func(m *ir.Model) error {
		vanishing = half.Vanishing(m)
		return weights.Round(m, true)
	}, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if out, err = s.Run(map[string]ort.Tensor{"x": {Shape: []int64{int64(len(x))}, Data: x}}); err != nil {
		t.Fatal(err)
	}
	return out, half.Worst(s.Outputs(), func(name string) float32 { return out[name].Data.([]float32)[0] }), vanishing
}

func rounded(x ...float32) []float32 {
	for i, v := range x {
		x[i] = float16.Fromfloat32(v).Float32()
	}
	return x
}

// TestRound: inputs, constants, results and outputs pass through float16.
func TestRound(t *testing.T) {
	x := []float32{0.1, 1.0001, 3, 1000.3}
	out, lost, gone := run(t, slices.Clone(x), func(g *ir.Graph, x *ir.Value) {
		y := g.Mul(x, g.Scalar(1.0003))
		g.Output("y", y)
		g.Output("z", g.Add(y, x))
	})
	y := rounded(x...)
	for i, v := range y {
		y[i] = v * rounded(1.0003)[0]
	}
	y = rounded(y...)
	z := make([]float32, len(y))
	for i, v := range y {
		z[i] = v + x[i]
	}
	if got := out["y"].Data.([]float32); !slices.Equal(got, y) {
		t.Errorf("y is %v, want %v", got, y)
	}
	if got := out["z"].Data.([]float32); !slices.Equal(got, rounded(z...)) {
		t.Errorf("z is %v, want %v", got, z)
	}
	if lost != "" || len(gone) > 0 {
		t.Errorf("%q and %q are lost", lost, gone)
	}
}

// TestLost: the first value that is beyond float16, or 0 there, is named, and so are
// constants that vanish.
func TestLost(t *testing.T) {
	x := []float32{1, 2, 3, 300}
	_, lost, _ := run(t, x, func(g *ir.Graph, x *ir.Value) {
		s := g.Mul(x, x).Named("square")
		g.Output("y", g.Sqrt(g.Mul(s, s)))
	})
	if lost != "square reaches 9e+04, beyond the largest float16, 65504" {
		t.Errorf("lost %q", lost)
	}
	_, lost, _ = run(t, x, func(g *ir.Graph, x *ir.Value) {
		small := g.Mul(x, g.Scalar(1e-5))
		g.Output("y", g.Add(g.Mul(g.Mul(small, small).Named("small"), g.Scalar(1e-4)).Named("gone"), x))
	})
	if lost != "gone is at most 9.01e-10, which is 0 in float16" && !strings.HasPrefix(lost, "gone is at most ") {
		t.Errorf("lost %q", lost)
	}
	_, lost, gone := run(t, x, func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Add(x, g.Scalar(1e-9))) })
	if lost != "" || len(gone) != 1 || gone[0] != "const_1e-09 is 1e-09, which is 0 in float16" {
		t.Errorf("lost %q, gone %q", lost, gone)
	}
}

// TestIntegersStay: in a graph with Q nodes, ops that are not marked as kept in float
// compute with integers, and are not rounded; those that are marked are.
func TestIntegersStay(t *testing.T) {
	fine := ir.PerTensor(ir.Int16, 0.1/3, 0)
	x := []float32{0.1, 1, 3, 1000.3}
	out, _, _ := run(t, x, func(g *ir.Graph, x *ir.Value) {
		y := g.QDQ(x, fine)
		g.Output("y", g.Quantize(g.Mul(y, y), ir.PerTensor(ir.Int16, 32, 0)))
		leave := g.FloatRegion()
		g.Output("z", g.Relu(y))
		leave()
	})
	q := func(v float32) float32 { return fine.Scales[0] * float32(fine.Code(v, 0)) }
	if got, want := out["y"].Data.([]int16)[3], int16(ir.PerTensor(ir.Int16, 32, 0).Code(q(rounded(1000.3)[0])*q(rounded(1000.3)[0]), 0)); got != want {
		t.Errorf("the square is %d, want %d: it was rounded on its way", got, want)
	}
	if got, want := out["z"].Data.([]float32)[3], rounded(q(rounded(1000.3)[0]))[0]; got != want {
		t.Errorf("z is %g, want %g", got, want)
	}
}

// TestStoredWeights: weights in a file beside the graph are rounded in another one, which two graphs
// share and which is gone before they run; what codes need stays as it is.
func TestStoredWeights(t *testing.T) {
	orttest.Require(t)
	const n = 64
	dir := t.TempDir()
	file, err := ir.CreateWeights(filepath.Join(dir, "weights.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Abort()
	w, scales, codes := make([]float32, n*n), make([]float32, n*n), make([]int8, n*n)
	for i := range w {
		w[i], scales[i], codes[i] = 1+float32(i)/99999, 1e-3+float32(i)/99999, int8(i)
	}
	for _, name := range []string{"a.onnx", "b.onnx"} {
		g := ir.NewGraph(name, ir.Options{Weights: file})
		x := g.Input("x", ir.Float32, 1, n)
		g.Output("float", g.MatMul(x, g.Const("w", []int{n, n}, w)))
		e := encoding.Encoding{Bits: 8, Scales: scales[:n], Axis: 1}
		g.Output("codes", g.MatMul(x, g.Dequantize(g.Const("c", []int{n, n}, codes), e)))
		if err := g.WriteFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Commit(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	// What a killed process left is removed.
	left := filepath.Join(os.TempDir(), ".eisft-float16-1."+strconv.FormatInt(time.Now().UnixNano(), 36)+".tmp")
	if err = os.Mkdir(left, 0o700); err == nil {
		err = os.WriteFile(filepath.Join(left, "weights.bin"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var weights half.Weights
	var sessions []*ort.Session
	for _, name := range []string{"a.onnx", "b.onnx"} {
		s, err := ort.OpenAltered(filepath.Join(dir, name), func(m *ir.Model) error { return weights.Round(m, false) }, ort.Options{Lean: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sessions = append(sessions, s)
	}
	files, err := filepath.Glob(filepath.Join(os.TempDir(), "*", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("there are the files %v (%v), want one", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Size() > 4*n*n+n*n+3*ir.PageSize {
		t.Errorf("it has %d bytes, which both graphs do not share (%v)", info.Size(), err)
	}
	if err := weights.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	for _, s := range sessions {
		x := make([]float32, n)
		x[5] = 1
		out, err := s.Run(map[string]ort.Tensor{"x": {Shape: []int64{1, n}, Data: x}})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := out["float"].Data.([]float32), rounded(slices.Clone(w[5*n:6*n])...); !slices.Equal(got, rounded(want...)) {
			t.Errorf("the product of floats is %v, want %v", got[:4], want[:4])
		}
		want := make([]float32, n)
		for i := range want {
			want[i] = scales[i] * float32(codes[5*n+i])
		}
		if got := out["codes"].Data.([]float32); !slices.Equal(got, rounded(want...)) {
			t.Errorf("the product of codes is %v, want %v", got[:4], want[:4])
		}
	}
}

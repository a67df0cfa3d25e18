package ort_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"eisft/export/ir"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
)

// accumulator is a graph with a state: sum = state + x, and the codes of the sum.
func accumulator(t testing.TB) string {
	t.Helper()
	g := ir.NewGraph("accumulator", ir.Options{})
	sum := g.Add(g.Input("x", ir.Float32, 2, 2), g.Input("state_in", ir.Float32, 2, 2))
	g.Output("state_out", sum)
	g.Output("codes", g.Quantize(sum, ir.PerTensor(ir.UInt16, 0.5, 0)))
	g.SetMetadata("eisft.test", "yes")
	path := filepath.Join(t.TempDir(), "accumulator.onnx")
	if err := g.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSession(t *testing.T) {
	orttest.Require(t)
	if v, err := ort.Version(); err != nil || !regexp.MustCompile(`^\d+\.\d+\.\d+`).MatchString(v) {
		t.Errorf("version %q (%v)", v, err)
	}
	s, err := ort.Open(accumulator(t), ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if in := s.Inputs(); len(in) != 2 || in[0].Name != "x" || in[1].Name != "state_in" || !slices.Equal(in[0].Shape, []int64{2, 2}) {
		t.Errorf("inputs %v", in)
	}
	if out := s.Outputs(); len(out) != 2 || out[1].DType != ir.UInt16 {
		t.Errorf("outputs %v", out)
	}
	if s.Metadata()["eisft.test"] != "yes" {
		t.Errorf("metadata %v", s.Metadata())
	}
	shape := []int64{2, 2}
	out, err := s.Run(map[string]ort.Tensor{
		"x":        {Shape: shape, Data: []float32{1, 2, 3, 4}},
		"state_in": {Shape: shape, Data: []float32{10, 20, 30, 40}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := out["codes"].Data.([]uint16); !slices.Equal(got, []uint16{22, 44, 66, 88}) {
		t.Errorf("codes %v", got)
	}
}

// ONNX Runtime's own builds leave a log of their telemetry in the temporary folder.
func TestNothingIsSent(t *testing.T) {
	orttest.Require(t)
	if os.Getenv("EISFT_TEST_SENT") != "" {
		s, err := ort.Open(accumulator(t), ort.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	c := exec.Command(os.Args[0], "-test.run=^TestNothingIsSent$")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ORT_DISABLE_TELEMETRY=") && !strings.HasPrefix(v, "CI=") {
			c.Env = append(c.Env, v)
		}
	}
	c.Env = append(c.Env, "EISFT_TEST_SENT=yes", "TMPDIR="+dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("a session left %v in the temporary folder (%v)", left, err)
	}
}

func TestBindingKeepsItsTensors(t *testing.T) {
	orttest.Require(t)
	s, err := ort.Open(accumulator(t), ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := s.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	x := b.Tensor("x").Data.([]float32)
	in, out := b.Tensor("state_in").Data.([]float32), b.Tensor("state_out").Data.([]float32)
	for step := range 3 {
		for i := range x {
			x[i] = float32(i + step)
		}
		copy(in, out)
		if err := b.Run(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []float32{3, 6, 9, 12}; !slices.Equal(out, want) {
		t.Errorf("after three steps %v, want %v", out, want)
	}
	if b.Tensor("absent").Data != nil {
		t.Error("a tensor that does not exist has data")
	}
}

func TestRunErrors(t *testing.T) {
	orttest.Require(t)
	s, err := ort.Open(accumulator(t), ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	good := ort.Tensor{Shape: []int64{2, 2}, Data: make([]float32, 4)}
	for _, c := range []struct {
		name  string
		given map[string]ort.Tensor
		want  string
	}{
		{"missing", map[string]ort.Tensor{"x": good}, `input "state_in" is missing`},
		{"unknown", map[string]ort.Tensor{"x": good, "state_in": good, "y": good}, `no input is called "y"`},
		{"type", map[string]ort.Tensor{"x": {Shape: []int64{2, 2}, Data: make([]int8, 4)}, "state_in": good}, `"x": data is []int8, want float32`},
		{"shape", map[string]ort.Tensor{"x": good, "state_in": {Shape: []int64{4}, Data: make([]float32, 4)}}, `"state_in": shape [4], want [2 2]`},
		{"length", map[string]ort.Tensor{"x": good, "state_in": {Shape: []int64{2, 2}, Data: make([]float32, 3)}}, "3 elements for shape [2 2]"},
		{"nothing", map[string]ort.Tensor{"x": good, "state_in": {}}, "data is <nil>, want float32"},
	} {
		if _, err := s.Run(c.given); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	orttest.Require(t)
	path := accumulator(t)
	for _, c := range []struct {
		name string
		path string
		o    ort.Options
		want string
	}{
		{"level", path, ort.Options{Level: 9}, "optimization level 9"},
		{"absent", filepath.Join(t.TempDir(), "absent.onnx"), ort.Options{}, "no such file"},
		{"configuration", path, ort.Options{Config: map[string]string{"": ""}}, "accumulator.onnx"},
	} {
		if s, err := ort.Open(c.path, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v, want %q", c.name, s, err, c.want)
		}
	}
}

func TestLibrary(t *testing.T) {
	t.Setenv("EISFT_ONNXRUNTIME", filepath.Join(t.TempDir(), "absent.so"))
	if _, err := ort.Library(); err == nil || !strings.Contains(err.Error(), "EISFT_ONNXRUNTIME: ") {
		t.Errorf("got %v", err)
	}
	t.Setenv("EISFT_ONNXRUNTIME", "")
	cache, system, dir := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("LD_LIBRARY_PATH", system)
	t.Chdir(dir)
	if path, err := ort.Library(); err == nil {
		t.Skipf("the system has %s", path)
	} else if !strings.Contains(err.Error(), "run scripts/fetch-onnxruntime.sh") || !strings.Contains(err.Error(), filepath.Join(cache, "eisft", "onnxruntime")+", "+system+", /usr/local/lib") {
		t.Errorf("got %v", err)
	}
	// What comes later is looked at first.
	for _, want := range []string{
		filepath.Join(system, "libonnxruntime.so"), filepath.Join(system, "libonnxruntime.so.1"),
		filepath.Join(cache, "eisft", "onnxruntime", "libonnxruntime.so.1"), filepath.Join(dir, ".cache", "onnxruntime", "libonnxruntime.so.1"),
	} {
		if err := os.MkdirAll(filepath.Dir(want), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(want, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ort.Library(); err != nil || got != want {
			t.Errorf("got %s (%v), want %s", got, err, want)
		}
	}
}

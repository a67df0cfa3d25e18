package hostfiles_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/lower"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/model"
	"eisft/model/hf"
)

// root is the checkout.
const root = "../.."

// folder exports a model with all hosts beside it.
func folder(t testing.TB, m *model.Model, change func(*export.Options)) string {
	t.Helper()
	o := export.Options{
		Sizes: []export.Size{{Tokens: 4, Cache: 17}}, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll, NoVerify: true, Hosts: []string{"cpp", "js"},
		Precisions: []export.Precision{export.Float32, export.Float16},
	}
	if change != nil {
		change(&o)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, _, err := export.Export(t.Context(), m, out, o); err != nil {
		t.Fatal(err)
	}
	return out
}

// variant is a small model with its export.
type variant struct {
	name      string
	block     func(*model.Spec)
	base      func(*hf.Config)
	change    func(*export.Options)
	quantized bool
	weak      bool // retention scores lie close together
}

// variants have every rule that a host follows: each is the only one in which some rule
// matters.
var variants = []variant{
	{name: "quantized", quantized: true},
	{name: "in parts", quantized: true, change: func(o *export.Options) { o.Inputs, o.Parts = lower.InputIDs, 4 }},
	{name: "close scores", weak: true, block: func(s *model.Spec) { s.Slots = 5 }, base: func(c *hf.Config) { c.VocabSize = 97 }},
	{name: "ids, last", change: func(o *export.Options) { o.Inputs, o.Logits = lower.InputIDs, lower.LogitsLast }},
	{name: "none", change: func(o *export.Options) { o.Logits = lower.LogitsNone }},
	{name: "few slots", block: func(s *model.Spec) { s.SlotLayers = []int{1} }},
	{name: "mass gate", block: func(s *model.Spec) { s.Gate = model.GateMass }},
	{name: "write gate", block: func(s *model.Spec) { s.WriteGate, s.Slots, s.Window = true, 0, 11 }},
	{name: "decay", block: func(s *model.Spec) {
		s.Slots, s.Retention = 5, model.Retention{Form: model.RetentionMLP, Hidden: 6, Decay: true}
	}},
	{name: "no memory", block: func(s *model.Spec) { s.Memory = model.MemoryNone }},
	{name: "sliding window", base: func(c *hf.Config) {
		c.SlidingWindow, c.LayerTypes = 7, []hf.LayerType{hf.SlidingAttention, hf.FullAttention}
		c.RopeLocal = hf.Rope{Type: "default", Theta: 50, PartialRotaryFactor: 0.5}
	}},
	{name: "absolute, scaled", block: func(s *model.Spec) { s.Positions = model.PositionsAbsolute }, base: func(c *hf.Config) {
		c.Rope = hf.Rope{Type: "yarn", Theta: 10000, Factor: 4, OriginalMaxPositionEmbeddings: 64, AttentionFactor: 1.4, PartialRotaryFactor: 0.5}
	}},
}

// export writes a variant.
func (v variant) export(t testing.TB) string {
	t.Helper()
	m := exporttest.Model(t, exporttest.Block(v.block), v.base)
	if v.weak {
		for _, l := range m.Params.Layers {
			for i := range l.RetentionWeight.Data {
				l.RetentionWeight.Data[i] *= 1e-3
			}
		}
	}
	return folder(t, m, func(o *export.Options) {
		if v.weak { // float16 tells their ranks apart otherwise
			o.Precisions = []export.Precision{export.Float32}
		}
		if v.quantized {
			o.Quantized = exporttest.Quantized(t, m)
		}
		if v.change != nil {
			v.change(o)
		}
	})
}

// run runs a program and returns what it wrote, and whether it succeeded.
func run(t testing.TB, dir, program string, args ...string) (out string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = dir
	text, err := c.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), err == nil
}

// modules gives the JavaScript host of a folder its packages.
func modules(t testing.TB, dir string) {
	t.Helper()
	packages, err := filepath.Abs(filepath.Join(root, ".cache", "hosts", "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed (scripts/fetch-hosts.sh)")
	}
	if _, err := os.Stat(filepath.Join(packages, "onnxruntime-node")); err != nil {
		t.Skip("the packages of the JavaScript host are not there (scripts/fetch-hosts.sh)")
	}
	if err := os.Symlink(packages, filepath.Join(dir, "js", "node_modules")); err != nil {
		t.Fatal(err)
	}
}

// compiled builds the C++ host of a folder with CMake and returns the folder of its programs.
func compiled(t testing.TB, dir string) string {
	t.Helper()
	orttest.Require(t)
	for _, tool := range []string{"cmake", "g++"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (scripts/fetch-hosts.sh)", tool)
		}
	}
	library, err := ort.Library()
	if err != nil {
		t.Fatal(err)
	}
	build := t.TempDir()
	for _, args := range [][]string{
		{"-S", filepath.Join(dir, "cpp"), "-B", build, "-DCMAKE_BUILD_TYPE=Debug", "-DONNXRUNTIME_INCLUDE=" + header(t), "-DONNXRUNTIME_LIBRARY=" + library},
		{"--build", build},
	} {
		if out, ok := run(t, dir, "cmake", args...); !ok || strings.Contains(out, "warning:") {
			t.Fatalf("cmake %v:\n%s", args, out)
		}
	}
	return build
}

// header is the folder of ONNX Runtime's C header, which comes with its Go binding.
func header(t testing.TB) string {
	t.Helper()
	out, ok := run(t, ".", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go")
	if !ok {
		t.Fatal(out)
	}
	return strings.TrimSpace(out)
}

// TestHostCppGolden: the C++ host gives what golden vectors say.
func TestHostCppGolden(t *testing.T) {
	programs := compiled(t, variants[0].export(t))
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			dir := v.export(t)
			out, ok := run(t, dir, filepath.Join(programs, "golden"), dir)
			if t.Log(out); !ok || strings.Count(out, "tokens equal") < 1 {
				t.Errorf("it failed")
			}
		})
	}
}

// TestHostFourBits: at every level of ONNX Runtime, weights of 4 bits meet activations in float.
func TestHostFourBits(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), func(c *hf.Config) { c.HiddenSize, c.HeadDim, c.IntermediateSize = 64, 16, 64 })
	dir := folder(t, m, func(o *export.Options) {
		o.Quantized, o.QuantizedOnly = exporttest.QuantizedAs(t, m, exporttest.Scheme(t, "w4-g32", "generic")), true
	})
	modules(t, dir)
	for _, level := range []string{"basic", "all"} {
		if out, ok := run(t, dir, "node", "js/golden.mjs", "--level", level); !ok {
			t.Errorf("%s:\n%s", level, out)
		}
	}
}

// TestHostJavaScriptGolden: the JavaScript host gives what golden vectors say.
func TestHostJavaScriptGolden(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			dir := v.export(t)
			modules(t, dir)
			out, ok := run(t, dir, "node", "js/golden.mjs")
			if t.Log(out); !ok || strings.Count(out, "tokens equal") < 1 {
				t.Errorf("it failed")
			}
		})
	}
}

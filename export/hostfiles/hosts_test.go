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
	"eisft/export/hostfiles"
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
	build := t.TempDir()
	for _, args := range [][]string{
		{"-S", filepath.Join(dir, "cpp"), "-B", build, "-DCMAKE_BUILD_TYPE=Debug", "-DONNXRUNTIME=" + release(t)},
		{"--build", build},
	} {
		if out, ok := run(t, dir, "cmake", args...); !ok || strings.Contains(out, "warning:") {
			t.Fatalf("cmake %v:\n%s", args, out)
		}
	}
	return build
}

// release is a folder as a release of ONNX Runtime is unpacked into.
func release(t testing.TB) string {
	t.Helper()
	library, err := ort.Library()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o777); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{"include": header(t), "lib/libonnxruntime.so": library, "lib/libonnxruntime.so.1": library} {
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
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

// TestHostCppNeeds: where header or library are not found, CMake says what is missing, where it looked and what to do.
func TestHostCppNeeds(t *testing.T) {
	orttest.Require(t)
	if _, err := exec.LookPath("cmake"); err != nil {
		t.Skip("cmake is not installed (scripts/fetch-hosts.sh)")
	}
	whole, dir := release(t), t.TempDir()
	if err := hostfiles.Write(dir, "cpp"); err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(dir, "alone.cmake") // CMake looks into no folder of the system
	if err := os.WriteFile(alone, []byte("set(CMAKE_FIND_USE_CMAKE_SYSTEM_PATH OFF)\nset(CMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH OFF)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ has, misses, advice string }{
		{"lib", "onnxruntime_c_api.h", "-DONNXRUNTIME_INCLUDE=FOLDER"},
		{"include", "libonnxruntime", "-DONNXRUNTIME_LIBRARY=FILE"},
	} {
		folder := t.TempDir()
		if err := os.Symlink(filepath.Join(whole, tc.has), filepath.Join(folder, tc.has)); err != nil {
			t.Fatal(err)
		}
		out, ok := run(t, dir, "cmake", "-S", "cpp", "-B", t.TempDir(), "-DCMAKE_PROJECT_INCLUDE="+alone, "-DONNXRUNTIME="+folder)
		said := strings.Join(strings.Fields(out), " ")
		for _, want := range []string{"There is no " + tc.misses + " in " + folder, "README.md", tc.advice} {
			if ok || !strings.Contains(said, want) {
				t.Errorf("with %s alone: want %q in:\n%s", tc.has, want, out)
			}
		}
	}
}

// TestHostCppReads: what is no token id, or no number of tokens, is refused by name.
func TestHostCppReads(t *testing.T) {
	dir := variants[0].export(t)
	program := filepath.Join(compiled(t, dir), "run")
	for _, tc := range []struct {
		ids  string
		args []string
		want string // of what it writes
	}{
		{"1 2 3", []string{"float", "4"}, ""},
		{"1 2 x 3", []string{"float", "4"}, "line 1, id 3 is x; want a whole number"},
		{"1 2\n4000000000", []string{"float", "4"}, "line 2, id 1 is 4000000000; want a whole number of at most 2147483647"},
		{"1 2", []string{"float", "many"}, "MOST is many; want a whole number"},
		{"1 2", []string{"float", "0"}, "MOST is 0; want at least 1"},
		{"1 2", []string{"float", "4", "halt"}, "the fourth word is halt; want stop"},
		{"1 2", []string{"w4", "4"}, "has no graphs in w4; it has float, float16, w8a16"},
	} {
		c := exec.CommandContext(t.Context(), program, append([]string{dir}, tc.args...)...)
		c.Stdin = strings.NewReader(tc.ids)
		out, err := c.CombinedOutput()
		if !strings.Contains(string(out), tc.want) || (err == nil) != (tc.want == "") {
			t.Errorf("%q %q: %s (%v), want %q", tc.ids, tc.args, out, err, tc.want)
		}
	}
}

// TestHostJavaScriptReads: what Node's programs cannot read or serve is said in a line.
func TestHostJavaScriptReads(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed (scripts/fetch-hosts.sh)")
	}
	dir := variants[0].export(t)
	wanted := map[string]string{
		"run.mjs":                                    "there is nothing to read: want one of --prompt TEXT, --prompt-file FILE and --ids FILE",
		"run.mjs --prompt a --ids b":                 "there is nothing to read: want one of",
		"run.mjs --prompt-file missing":              "no such file or directory, open 'missing'",
		"run.mjs --prompt a":                         "has no tokenizer; want --ids FILE",
		"run.mjs --ids manifest.json --precision w4": "there are no graphs in w4; the folder has float, float16, w8a16",
		"run.mjs --ids a --max-new-tokens many":      "--max-new-tokens is many; want a whole number of at least 1",
		"golden.mjs --graph missing":                 "no such file or directory, open '",
		"serve.mjs --port 70000":                     "--port is 70000; want a whole number of at most 65535",
	}
	if out, ok := run(t, dir, "node", "js/serve.mjs"); ok || !strings.HasPrefix(out, "serve.mjs: there is no ") || !strings.HasSuffix(out, "run npm install --ignore-scripts\n") {
		t.Errorf("without packages: %s", out)
	}
	modules(t, dir)
	for line, want := range wanted {
		args := strings.Fields(line)
		out, ok := run(t, dir, "node", append([]string{"js/" + args[0]}, args[1:]...)...)
		if ok || !strings.HasPrefix(out, args[0]+": ") || !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: %s, want %q in one line", line, out, want)
		}
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

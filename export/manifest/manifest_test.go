package manifest

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"eisft/internal/filehash"
	"eisft/quant/encoding"
)

// code8 is the encoding of a tensor in codes of 8 signed bits.
func code8(scale float32, zero int32) *encoding.Encoding {
	e := encoding.Signed(8, scale)
	if zero != 0 {
		e.Zeros = []int32{zero}
	}
	return &e
}

func manifest() *Manifest {
	layer := 0
	key := func(name string, tokens int) Port {
		return Port{
			Name: name, Role: "key", Layer: &layer, Shape: []int{1, 1, 64, tokens}, DType: "int8",
			Axes: []string{"kv_head", "batch", "head_dim", "token"}, Encoding: code8(0.0625, 0),
		}
	}
	return &Manifest{
		Schema: Schema, Producer: "eisft", Model: "test", Opset: 21, Positions: "compact",
		Kinds:     []Kind{{Layers: []int{0}, Rope: Rope{Theta: 1e4, Scaling: json.RawMessage(`{"rope_type":"default"}`), InvFreq: []float32{1, 0.01}, Scale: 1}}},
		MaskValue: -1e4, MemoryColumn: ColumnZero,
		Shapes: []Shape{{Name: "4x8", Tokens: 4, Cache: 8, Sinks: 1, Slots: 2, Window: 1, Segment: 4}},
		Graphs: []Graph{{
			Name: "prompt_4x8", Kind: PromptGraph, Shape: "4x8", Precision: "w4a16",
			Parts:  []Part{{File: "prompt.onnx", Ops: map[string]int{"MatMul": 2}}},
			Inputs: []Port{key("past_key_0_in", 8)},
			Outputs: []Port{
				key("past_key_0_out", 4),
				{Name: "logits", Role: "logits", Shape: []int{1, 4, 100}, DType: "float32", Axes: []string{"batch", "token", "vocabulary"}},
			},
		}},
		States:       []State{{In: "past_key_0_in", Out: "past_key_0_out", Policy: Append}},
		Quantization: &Quantization{Scheme: "w4a16"},
		Verification: []Verification{{Shape: "4x8", Precision: "w4a16", Runtime: "1.30.0", Compared: 10, EqualTokens: 10, LogitRange: 5, Tolerance: Tolerance{Max: 0.1, Mean: 0.01}}},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prompt.onnx"), []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := manifest()
	if err := m.AddFile(dir, "prompt.onnx"); err != nil {
		t.Fatal(err)
	}
	if want := (File{"prompt.onnx", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}); m.Files[0] != want {
		t.Errorf("file %v, want %v", m.Files[0], want)
	}
	if err := m.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	got.Kinds[0].Rope.Scaling = m.Kinds[0].Rope.Scaling // white space differs
	if !reflect.DeepEqual(got, m) {
		t.Errorf("got %+v, want %+v", got, m)
	}
	if errs := got.VerifyFiles(dir, filehash.Compute); errs != nil {
		t.Errorf("unchanged files: %v", errs)
	}
	for content, want := range map[string]string{"abd": "files[0]: prompt.onnx has sha256 ", "abcd": "files[0]: prompt.onnx has 4 bytes, want 3"} {
		if err := os.WriteFile(filepath.Join(dir, "prompt.onnx"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if errs := got.VerifyFiles(dir, filehash.Compute); len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("changed file: got %v, want %q", errs, want)
		}
	}
	mirror, err := got.Mirror()
	if err != nil || strings.Contains(mirror, "sha256\":\"ba78") || strings.Contains(mirror, "verification") {
		t.Errorf("mirror %s (%v)", mirror, err)
	}
	if _, err := Parse([]byte(mirror)); err != nil {
		t.Errorf("the mirror is no manifest: %v", err)
	}
}

func TestManifestErrors(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(m *Manifest)
		want  string
	}{
		{"opset", func(m *Manifest) { m.Opset = 19 }, "opset: 19, want 17 or 21"},
		{"positions", func(m *Manifest) { m.Positions = "relative" }, `positions: "relative", want compact or absolute`},
		{"mask", func(m *Manifest) { m.MaskValue = 0 }, "mask_value: 0, want a finite number below 0"},
		{"column", func(m *Manifest) { m.MemoryColumn = "one" }, `memory_column: "one", want zero or log_tokens`},
		{"a scheme's embeddings", func(m *Manifest) { m.Quantization = &Quantization{Scheme: "w8a16", Embeddings: "a/b"} }, `quantization.embeddings: "a/b" must be a file name without a folder`},
		{"embeddings", func(m *Manifest) { m.Embeddings = "a/b" }, `embeddings: "a/b" must be a file name without a folder`},
		{"precision", func(m *Manifest) { m.Graphs[0].Precision = "" }, "graphs[0].precision: it is empty"},
		{"theta", func(m *Manifest) { m.Kinds[0].Rope.Theta = 0 }, "kinds[0].rope.theta: 0, want a number above 0"},
		{"frequencies", func(m *Manifest) { m.Kinds[0].Rope.InvFreq = nil }, "kinds[0].rope.inv_freq: it is empty"},
		{"rope scale", func(m *Manifest) { m.Kinds[0].Rope.Scale = 0 }, "kinds[0].rope.attention_scale: 0"},
		{"no kinds", func(m *Manifest) { m.Kinds = nil }, "kinds: there is none"},
		{"window", func(m *Manifest) { m.Kinds[0].Window = -1 }, "kinds[0].window: -1 is negative"},
		{"suffix", func(m *Manifest) { m.Kinds[0].Window = 8 }, `kinds[0].suffix: "", want "_sliding"`},
		{"no slots", func(m *Manifest) { m.Kinds[0].Slotless = true }, `kinds[0].suffix: "", want "_slotless"`},
		{"not rotated", func(m *Manifest) { m.Kinds[0].Unrotated = true }, `kinds[0].suffix: "", want "_unrotated"`},
		{"rotated", func(m *Manifest) { m.Kinds[0].Unrotated, m.Kinds[0].Suffix = true, "_unrotated" }, "kinds[0].rope.inv_freq: 2 frequencies, want none for layers that are not rotated"},
		{"kind twice", func(m *Manifest) { m.Kinds = append(m.Kinds, m.Kinds[0]) }, `kinds[1].suffix: "" is there twice`},
		{"no layers", func(m *Manifest) { m.Kinds[0].Layers = nil }, "kinds[0].layers: there is none"},
		{"layer twice", func(m *Manifest) { m.Kinds[0].Layers = []int{1, 1} }, "kinds[0].layers[1]: 1, want indices from 0 on, each in one kind"},
		{"scheme", func(m *Manifest) { m.Quantization.Scheme = "" }, "quantization.scheme: it is empty"},
		{"shapes", func(m *Manifest) { m.Shapes = nil }, "shapes: there is none"},
		{"shape name", func(m *Manifest) { m.Shapes[0].Name = "4x9" }, `shapes[0].name: "4x9", want "4x8"`},
		{"sum", func(m *Manifest) { m.Shapes[0].Slots = 3 }, "shapes[0].c: 8, want s+r+w+l = 9"},
		{"sizes", func(m *Manifest) { m.Shapes[0].Window = -1 }, "shapes[0]: t 4 and l 4 must be above 0, s 1, r 2 and w -1 not negative"},
		{"twice", func(m *Manifest) { m.Shapes = append(m.Shapes, m.Shapes[0]) }, `shapes[1].name: "4x8" is there twice`},
		{"graphs", func(m *Manifest) { m.Graphs = nil }, "graphs: there is none"},
		{"graph name", func(m *Manifest) { m.Graphs = append(m.Graphs, m.Graphs[0]) }, `graphs[1].name: "prompt_4x8" is empty or there twice`},
		{"kind", func(m *Manifest) { m.Graphs[0].Kind = "decode" }, `graphs[0].kind: "decode", want prompt, generation or commit`},
		{"graph shape", func(m *Manifest) { m.Graphs[0].Shape = "1x8" }, `graphs[0].shape: there is no shape "1x8"`},
		{"parts", func(m *Manifest) { m.Graphs[0].Parts = nil }, "graphs[0].parts: there is none"},
		{"part file", func(m *Manifest) { m.Graphs[0].Parts[0].File = "../x.onnx" }, `graphs[0].parts[0].file: "../x.onnx" must be a file name without a folder`},
		{"no inputs", func(m *Manifest) { m.Graphs[0].Inputs = nil }, "graphs[0].inputs: there is none"},
		{"port name", func(m *Manifest) { m.Graphs[0].Outputs[1].Name = "past_key_0_out" }, `graphs[0].outputs[1].name: "past_key_0_out" is there twice`},
		{"role", func(m *Manifest) { m.Graphs[0].Outputs[1].Role = "logit" }, `graphs[0].outputs[1].role: "logit", want one of ids, embeds`},
		{"dtype", func(m *Manifest) { m.Graphs[0].Outputs[1].DType = "half" }, `graphs[0].outputs[1].dtype: unknown element type "half"`},
		{"port shape", func(m *Manifest) { m.Graphs[0].Outputs[1].Shape[1] = -1 }, "graphs[0].outputs[1].shape: [1 -1 100], want at most 4 sizes above 0"},
		{"axes", func(m *Manifest) { m.Graphs[0].Outputs[1].Axes = nil }, "graphs[0].outputs[1].axes: 0 names for the 3 axes of shape"},
		{"no encoding", func(m *Manifest) { m.Graphs[0].Inputs[0].Encoding = nil }, "graphs[0].inputs[0].encoding: a port of int8 must have one"},
		{"encoding", func(m *Manifest) { m.Graphs[0].Outputs[1].Encoding = code8(1, 0) }, "graphs[0].outputs[1].encoding: a port of float32 must have none"},
		{"scale", func(m *Manifest) { m.Graphs[0].Inputs[0].Encoding = code8(0, 0) }, "graphs[0].inputs[0].encoding: scale 0 is 0"},
		{"zero point", func(m *Manifest) { m.Graphs[0].Inputs[0].Encoding = code8(1, 128) }, "graphs[0].inputs[0].encoding: zero point 0 is 128, outside int8"},
		{"other codes", func(m *Manifest) { e := encoding.Signed(16, 1); m.Graphs[0].Inputs[0].Encoding = &e }, "graphs[0].inputs[0].encoding: it is for int16, but the port is int8"},
		{"state in", func(m *Manifest) { m.States[0].In = "x" }, `states[0].in: no w4a16 graph has the input "x"`},
		{"state out", func(m *Manifest) { m.States[0].Out = "x" }, `states[0].out: no w4a16 graph has the output "x"`},
		{"policy", func(m *Manifest) { m.States[0].Policy = "swap" }, `states[0].policy: "swap", want append or replace`},
		{"replace", func(m *Manifest) { m.States[0].Policy = Replace }, "a state that is replaced keeps its shape"},
		{"state types", func(m *Manifest) { m.States[0].Out = "logits" }, `states[0]: "past_key_0_in" is int8, "logits" is float32`},
		{"file name", func(m *Manifest) { m.Files = []File{{Name: "/etc/passwd"}} }, `files[0].name: "/etc/passwd" must be the name of a file in the export's folder`},
		{"file outside", func(m *Manifest) { m.Files = []File{{Name: "js/../../x"}} }, `files[0].name: "js/../../x" must be`},
		{"golden", func(m *Manifest) { m.Golden = []Golden{{"4x8", "float", "a.json", "a.safetensors"}} }, `golden[0]: there are no graphs of shape "4x8" and precision "float"`},
		{"evaluated", func(m *Manifest) { m.Evaluated = []Evaluated{{Shape: "4x9"}} }, `evaluated[0]: there is no shape "4x9"`},
		{"golden steps", func(m *Manifest) { m.Golden = []Golden{{"4x8", "w4a16", "../a", "a"}} }, `golden[0].steps: "../a" must be a file name without a folder`},
		{"golden tensors", func(m *Manifest) { m.Golden = []Golden{{"4x8", "w4a16", "a", ""}} }, `golden[0].tensors: "" must be a file name without a folder`},
		{"tokenizer", func(m *Manifest) { m.Text = &Text{} }, `text.tokenizer: "" must be a file name without a folder`},
		{"template", func(m *Manifest) { m.Text = &Text{Tokenizer: "t", Template: "a/b"} }, `text.template: "a/b" must be a file name without a folder`},
		{"sum of file", func(m *Manifest) { m.Files = []File{{Name: "prompt.onnx", SHA256: "00"}} }, `files[0].sha256: "00" is no sha256`},
		{"unlisted", func(m *Manifest) { m.Files = []File{{Name: "a", SHA256: strings.Repeat("0", 64)}} }, `files: "prompt.onnx", a part of a graph, is not listed`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := manifest()
			c.spoil(m)
			dir := t.TempDir()
			if err := m.Write(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("write: got %v, want %q", err, c.want)
			}
			raw, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, Name), raw, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("read: got %v, want %q", err, c.want)
			}
		})
	}
	for raw, want := range map[string]string{
		``:                         "not a manifest",
		`{"schema":1}`:             "schema: version 1, want 4: export again",
		`{"schema":4,"colour":1}`:  `unknown field "colour"`,
		`{"schema":4,"opset":"a"}`: "opset",
	} {
		if _, err := Parse([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
	}
}

// TestPassed: both differences have to be within the tolerance.
func TestPassed(t *testing.T) {
	for _, c := range []struct {
		max, mean float64
		want      bool
	}{{0.1, 0.01, true}, {0.11, 0.001, false}, {0.01, 0.011, false}, {math.NaN(), 0, false}, {0, math.NaN(), false}} {
		v := Verification{MaxLogitError: c.max, MeanLogitError: c.mean, Tolerance: Tolerance{Max: 0.1, Mean: 0.01}}
		if v.Passed() != c.want {
			t.Errorf("%+v: passed is %t", v, v.Passed())
		}
	}
}

// FuzzManifest: what is read without an error can be written and read again.
func FuzzManifest(f *testing.F) {
	raw, err := json.Marshal(manifest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"schema":4}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(again); err != nil {
			t.Errorf("%s became %s: %v", raw, again, err)
		}
	})
}

package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/export/onnxpb"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
)

var (
	act16  = ir.PerTensor(ir.UInt16, 1.0/1024, 32768)
	cache8 = ir.PerTensor(ir.Int8, 1.0/16, 0)
)

// attend is a small quantized graph with everything a main graph has: a mask, a
// cache that is tied from end to end, 4-bit weights and a part kept in float.
func attend(t testing.TB, weights *ir.Weights) *ir.Graph {
	t.Helper()
	g := ir.NewGraph("prompt", ir.Options{Weights: weights})
	x := g.Input("input_embeds", ir.UInt16, 1, 4, 64)
	mask := g.Dequantize(g.Input("attention_mask", ir.UInt16, 1, 1, 4, 12), act16)
	past := g.Dequantize(g.Input("past_key_0_in", ir.Int8, 1, 1, 64, 8), cache8)

	leave := g.FloatRegion()
	h := g.Dequantize(x, act16)
	h = g.Div(h, g.Scalar(8))
	h = g.Div(h, g.Sqrt(g.ReduceMean(g.Mul(h, h), -1))).Named("norm")
	leave()
	h = g.QDQ(h, act16)

	codes := make(ir.Nibbles, 64*64)
	for i := range codes {
		codes[i] = int8(i%16 - 8)
	}
	scales := make([]float32, 64)
	for i := range scales {
		scales[i] = 0.01
	}
	w := g.Dequantize(g.Const("k.weight", []int{64, 64}, codes), ir.Int4.Encoding(scales, nil, 1, 0))
	k := g.QDQ(g.MatMul(h, w).Named("k"), cache8)
	k = g.QDQ(g.Transpose(g.QDQ(g.Reshape(k, 1, 4, 1, 64), cache8), 0, 2, 3, 1), cache8)
	keys := g.QDQ(g.Concat(3, past, k).Named("keys"), cache8)
	q := g.QDQ(g.Reshape(h, 1, 1, 4, 64), act16)
	s := g.QDQ(g.MatMul(q, keys).Named("scores"), act16)
	p := g.QDQ(g.Softmax(g.QDQ(g.Add(s, mask), act16)), ir.PerTensor(ir.UInt16, 1.0/65536, 0))
	g.Output("probabilities", g.Quantize(g.ReduceSum(p, -1), act16))
	g.Output("past_key_0_out", g.Quantize(g.Slice(k, 3, 0, 4), cache8))
	return g
}

// model writes attend and gives its message, for a test to break.
func model(t testing.TB) (string, *onnxpb.ModelProto) {
	t.Helper()
	dir := t.TempDir()
	weights, err := ir.CreateWeights(filepath.Join(dir, "weights.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Abort()
	pb, err := attend(t, weights).Model()
	if err != nil {
		t.Fatal(err)
	}
	if err := weights.Commit(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "prompt.onnx"), pb
}

func parsed(t testing.TB, path string, pb *onnxpb.ModelProto) *ir.Model {
	t.Helper()
	raw, err := proto.Marshal(pb)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ir.Parse(path, raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func findNode(t testing.TB, pb *onnxpb.ModelProto, name string) *onnxpb.NodeProto {
	t.Helper()
	for _, n := range pb.Graph.Node {
		if n.Name == name {
			return n
		}
	}
	t.Fatalf("there is no node %s", name)
	return nil
}

func initializer(t testing.TB, pb *onnxpb.ModelProto, name string) *onnxpb.TensorProto {
	t.Helper()
	for _, c := range pb.Graph.Initializer {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no initializer %s", name)
	return nil
}

func setShape(t testing.TB, pb *onnxpb.ModelProto, name string, dims ...*onnxpb.TensorShapeProto_Dimension) {
	t.Helper()
	for _, info := range slices.Concat(pb.Graph.Input, pb.Graph.ValueInfo, pb.Graph.Output) {
		if info.Name == name {
			info.GetType().GetTensorType().Shape = &onnxpb.TensorShapeProto{Dim: dims}
			return
		}
	}
	t.Fatalf("there is no value %s", name)
}

func dim(n int64) *onnxpb.TensorShapeProto_Dimension {
	return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}}
}

func TestCheckFindsNothingInAGoodGraph(t *testing.T) {
	path, pb := model(t)
	for _, target := range []Target{NoTarget, QNN} {
		for _, f := range Check([]*ir.Model{parsed(t, path, pb)}, nil, target) {
			t.Errorf("target %q: %s", target, f)
		}
	}
}

// TestCheckTakesABias: a product and its bias are one op, but only these two.
func TestCheckTakesABias(t *testing.T) {
	for want, addend := range map[string]func(g *ir.Graph) *ir.Value{
		"":                                       func(g *ir.Graph) *ir.Value { return g.Const("bias", []int{64}, make([]float32, 64)) },
		`Add: its input "other" has no encoding`: func(g *ir.Graph) *ir.Value { return g.Input("other", ir.Float32, 64) },
	} {
		g := ir.NewGraph("linear", ir.Options{})
		x := g.Dequantize(g.Input("x", ir.Int16, 1, 64), ir.PerTensor(ir.Int16, 1, 0))
		w := g.Dequantize(g.Const("w", []int{64, 64}, make([]int8, 64*64)), ir.PerTensor(ir.Int8, 1, 0))
		g.Output("y", g.Quantize(g.Add(g.MatMul(x, w), addend(g)), ir.PerTensor(ir.Int16, 1, 0)))
		pb, err := g.Model()
		if err != nil {
			t.Fatal(err)
		}
		findings := Check([]*ir.Model{parsed(t, "linear.onnx", pb)}, nil, NoTarget)
		if want != "" {
			expect(t, findings, want)
		} else if len(findings) > 0 {
			t.Errorf("got %v", findings)
		}
	}
}

func TestCheckFindings(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(t *testing.T, pb *onnxpb.ModelProto)
		want  string
	}{
		{
			"op", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "scores").OpType = "Einsum" },
			"error: prompt.onnx: scores: Einsum is not in the op subset of fixed-shape graphs",
		},
		{
			"domain", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "scores").Domain = "com.microsoft" },
			"scores: com.microsoft.MatMul is not in the op subset",
		},
		{
			"opset", func(t *testing.T, pb *onnxpb.ModelProto) { pb.OpsetImport[0].Version = 19 },
			"uint16 codes or blocks need opset 21, the file has 19",
		},
		{
			"no opset", func(t *testing.T, pb *onnxpb.ModelProto) { pb.OpsetImport = nil },
			"error: prompt.onnx: opset 0 of ONNX's own domain, want 17 or above",
		},
		{"dynamic", func(t *testing.T, pb *onnxpb.ModelProto) {
			setShape(t, pb, "scores", dim(1), &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "n"}})
		}, "scores: shape [1 -1]: every size must be a fixed number above 0"},
		{"rank", func(t *testing.T, pb *onnxpb.ModelProto) {
			setShape(t, pb, "input_embeds", dim(1), dim(1), dim(1), dim(4), dim(64))
		}, "input_embeds: shape [1 1 1 4 64] has rank 5, above 4"},
		{"no shape", func(t *testing.T, pb *onnxpb.ModelProto) {
			pb.Graph.ValueInfo = slices.DeleteFunc(pb.Graph.ValueInfo, func(v *onnxpb.ValueInfoProto) bool { return v.Name == "scores" })
		}, "scores: the file gives no shape for it"},
		{"int64", func(t *testing.T, pb *onnxpb.ModelProto) {
			for _, v := range pb.Graph.ValueInfo {
				if v.Name == "norm" {
					v.GetType().GetTensorType().ElemType = int32(ir.Int64)
				}
			}
		}, "norm: it is of int64, which fixed-shape graphs do not compute with"},
		{
			"unknown value", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "scores").Input[0] = "nowhere" },
			`scores: it reads "nowhere", which nothing before it makes`,
		},
		{
			"made twice", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "scores").Output[0] = "keys" },
			`scores: its result "keys" exists already`,
		},
		{
			"unmade output", func(t *testing.T, pb *onnxpb.ModelProto) { pb.Graph.Output[0].Name = "x" },
			"x: nothing makes this output",
		},
		{"dynamic parameter", func(t *testing.T, pb *onnxpb.ModelProto) {
			pb.Graph.Node[len(pb.Graph.Node)-2].Input[1] = "attention_mask"
		}, `input 1, "attention_mask", must be a constant`},
		{
			"softmax axis", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "Softmax").Attribute[0].I = 1 },
			"Softmax along axis 1 of 4: only the last one is allowed",
		},
		{
			"conv", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "k").OpType = "Conv"; setShape(t, pb, "k") },
			`Conv: input 1,`,
		},
		{
			"gather", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "scores").OpType = "Gather" },
			"only the lookup of the input ids is allowed",
		},
		{"lost file", func(t *testing.T, pb *onnxpb.ModelProto) {
			initializer(t, pb, "k.weight").ExternalData[0].Value = "gone.bin"
		}, "k.weight: external data:"},
		{"escape", func(t *testing.T, pb *onnxpb.ModelProto) {
			initializer(t, pb, "k.weight").ExternalData[0].Value = "../weights.bin"
		}, `k.weight: external data: location "../weights.bin" leaves the model's folder`},
		{"short file", func(t *testing.T, pb *onnxpb.ModelProto) {
			initializer(t, pb, "k.weight").ExternalData[1].Value = "4096"
		}, "k.weight: external data weights.bin: it has 2048 bytes, want 2048 at 4096"},
		{"size", func(t *testing.T, pb *onnxpb.ModelProto) {
			c := initializer(t, pb, "k.weight")
			c.Dims[0], c.ExternalData[2].Value = 1<<27, "4294967296"
		}, "warning: prompt.onnx: graph and weights take 4.0 GiB, above 2 GiB: split the export into more parts"},
		{"infinite", func(t *testing.T, pb *onnxpb.ModelProto) {
			c := initializer(t, pb, "past_key_0_in/scale")
			c.RawData = []byte{0, 0, 0x80, 0x7f}
		}, "past_key_0_in/scale: the constant holds a value that is not finite"},
		{"scale", func(t *testing.T, pb *onnxpb.ModelProto) {
			initializer(t, pb, "past_key_0_in/scale").RawData = make([]byte, 4)
		}, "scale 0 is 0; it must be a finite number above 0"},
		{
			"scale from outside", func(t *testing.T, pb *onnxpb.ModelProto) { pb.Graph.Node[0].Input[1] = "input_embeds" },
			`scale: "input_embeds" is no constant`,
		},
		{
			"zero point's type", func(t *testing.T, pb *onnxpb.ModelProto) { pb.Graph.Node[0].Input[2] = "past_key_0_in/zero_point" },
			"zero point: it is int8 for codes of uint16",
		},
		{
			"input not covered", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "scores").Input[0] = "norm" },
			`scores: its input "norm" has no encoding: it must come from a DequantizeLinear`,
		},
		{
			"result not covered", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "Add").Input[0] = "scores" },
			`scores: its result "scores" has no encoding: it must go to a QuantizeLinear and nowhere else`,
		},
		{
			"not kept in float", func(t *testing.T, pb *onnxpb.ModelProto) { findNode(t, pb, "norm").MetadataProps = nil },
			`norm: its input "Sqrt" has no encoding`,
		},
		{"Q and DQ differ", func(t *testing.T, pb *onnxpb.ModelProto) {
			for _, n := range pb.Graph.Node {
				if n.OpType == "DequantizeLinear" && strings.HasPrefix(n.Input[0], "QuantizeLinear") && n.Input[1] == "past_key_0_in/scale" {
					n.Input[1] = "attention_mask/scale"
					return
				}
			}
		}, "it reads int8 scale 0.0009765625, but QuantizeLinear_1 writes int8 scale 0.0625"},
		{"concat", func(t *testing.T, pb *onnxpb.ModelProto) {
			findNode(t, pb, "DequantizeLinear_1").Input[1] = "attention_mask/scale"
		}, `keys: Concat: "DequantizeLinear_1" has int8 scale 0.0009765625`},
		{"state", func(t *testing.T, pb *onnxpb.ModelProto) {
			findNode(t, pb, "past_key_0_out").Input[1] = "attention_mask/scale"
		}, `past_key_0_out: the state has int8 scale 0.0009765625 here and int8 scale 0.0625 as "past_key_0_in" of prompt.onnx: they must be tied to one`},
		{"state's type", func(t *testing.T, pb *onnxpb.ModelProto) {
			pb.Graph.Output[1].GetType().GetTensorType().ElemType = int32(ir.UInt8)
		}, `past_key_0_out: the state is uint8 here and int8 as "past_key_0_in"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path, pb := model(t)
			c.spoil(t, pb)
			expect(t, Check([]*ir.Model{parsed(t, path, pb)}, nil, NoTarget), c.want)
		})
	}
}

func expect(t *testing.T, findings []Finding, want string) {
	t.Helper()
	var lines []string
	for _, f := range findings {
		if strings.Contains(f.String(), want) {
			return
		}
		lines = append(lines, f.String())
	}
	t.Errorf("want %q among:\n%s", want, strings.Join(lines, "\n"))
}

func TestPath(t *testing.T) {
	path, pb := model(t)
	raw, err := proto.Marshal(pb)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, filepath.Join(filepath.Dir(path), "step.onnx")} {
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		if findings, err := Path(p, NoTarget); err != nil || len(findings) > 0 {
			t.Errorf("%s: %v (%v)", p, findings, err)
		}
	}
	// A cache written with another scale than the next graph reads is found across files.
	findNode(t, pb, "past_key_0_out").Input[1] = "attention_mask/scale"
	if raw, err = proto.Marshal(pb); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	findings, err := Path(filepath.Dir(path), NoTarget)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, findings, "prompt.onnx: past_key_0_out: the state has int8 scale 0.0009765625 here")
	if _, err := Path(t.TempDir(), NoTarget); err == nil || !strings.Contains(err.Error(), "there is no .onnx file in it") {
		t.Errorf("empty folder: %v", err)
	}
}

// oneGraph is the manifest of a folder with one graph of a key cache and logits.
func oneGraph() *manifest.Manifest {
	layer := 0
	key := func(name string, tokens int) manifest.Port {
		return manifest.Port{
			Name: name, Role: "key", Layer: &layer, Shape: []int{1, 1, 64, tokens}, DType: "int8",
			Axes: []string{"kv_head", "batch", "head_dim", "token"}, Encoding: &cache8,
		}
	}
	return &manifest.Manifest{
		Schema: manifest.Schema, Opset: 21, Positions: "compact", MaskValue: -1e4, MemoryColumn: manifest.ColumnZero,
		Kinds:  []manifest.Kind{{Layers: []int{0}, Rope: manifest.Rope{Theta: 1e4, InvFreq: []float32{1, 0.01}, Scale: 1}}},
		Shapes: []manifest.Shape{{Name: "4x8", Tokens: 4, Cache: 8, Sinks: 1, Slots: 2, Window: 1, Segment: 4}},
		Graphs: []manifest.Graph{{
			Name: "prompt", Kind: manifest.PromptGraph, Shape: "4x8", Precision: "w8a16",
			Parts:  []manifest.Part{{File: "prompt.onnx", Ops: map[string]int{"QuantizeLinear": 4, "DequantizeLinear": 4, "Slice": 2, "Reshape": 1}}},
			Inputs: []manifest.Port{key("past_key_0_in", 8)},
			Outputs: []manifest.Port{
				key("past_key_0_out", 4),
				{Name: "logits", Role: "logits", Shape: []int{1, 1, 64}, DType: "float32", Axes: []string{"batch", "token", "vocabulary"}},
			},
		}},
		States: []manifest.State{{In: "past_key_0_in", Out: "past_key_0_out", Policy: manifest.Append}},
	}
}

func TestCheckAgainstManifest(t *testing.T) {
	dir := t.TempDir()
	g := ir.NewGraph("prompt", ir.Options{})
	past := g.Dequantize(g.Input("past_key_0_in", ir.Int8, 1, 1, 64, 8), cache8)
	g.Output("past_key_0_out", g.Quantize(g.QDQ(g.Slice(past, 3, 0, 4), cache8), cache8))
	g.Output("logits", g.QDQ(g.Reshape(g.QDQ(g.Slice(past, 3, 0, 1), cache8), 1, 1, 64), cache8))
	if err := g.WriteFile(filepath.Join(dir, "prompt.onnx")); err != nil {
		t.Fatal(err)
	}
	write := func(change func(m *manifest.Manifest)) []Finding {
		t.Helper()
		m := oneGraph()
		change(m)
		err := m.AddFile(dir, "prompt.onnx")
		if err == nil {
			err = m.Write(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		findings, err := Path(dir, NoTarget)
		if err != nil {
			t.Fatal(err)
		}
		return findings
	}
	if err := os.WriteFile(filepath.Join(dir, "other.onnx"), []byte("not on the list"), 0o600); err != nil {
		t.Fatal(err)
	}
	if findings := write(func(*manifest.Manifest) {}); len(findings) > 0 {
		t.Errorf("got %v, want nothing", findings)
	}
	for want, change := range map[string]func(m *manifest.Manifest){
		"the manifest says map[Slice:3]":                                             func(m *manifest.Manifest) { m.Graphs[0].Parts[0].Ops = map[string]int{"Slice": 3} },
		"logits: the output is float32 [1 1 64], the manifest says float32 [1 1 65]": func(m *manifest.Manifest) { m.Graphs[0].Outputs[1].Shape[2] = 65 },
		"logits: the manifest does not list this output":                             func(m *manifest.Manifest) { m.Graphs[0].Outputs[1].Name = "scores" },
		"scores: the manifest lists this output, but the file does not have it":      func(m *manifest.Manifest) { m.Graphs[0].Outputs[1].Name = "scores" },
	} {
		expect(t, write(change), want)
	}
}

// FuzzCheck runs every rule on arbitrary bytes: a broken file gives findings, never a panic.
func FuzzCheck(f *testing.F) {
	path, pb := model(f)
	raw, err := proto.Marshal(pb)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := ir.Parse(path, raw)
		if err != nil {
			return
		}
		for _, target := range []Target{QNN, MediaTek, LiteRT, OpenVINO} {
			for _, finding := range Check([]*ir.Model{m}, nil, target) {
				_ = finding.String()
			}
		}
	})
}

// TestQuantizedGraphRuns runs the checked graph: probabilities sum to one, and the
// cache takes the codes of what the 4-bit weights give.
func TestQuantizedGraphRuns(t *testing.T) {
	orttest.Require(t)
	path := filepath.Join(t.TempDir(), "prompt.onnx")
	if err := attend(t, nil).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	x := make([]uint16, 4*64)
	for i := range x {
		x[i] = 32768 // zero, but for one element a token
		if i%64 == 8 {
			x[i] += 1024
		}
	}
	mask := make([]uint16, 4*12)
	for i := range mask {
		mask[i] = 32768
	}
	out := orttest.Run(t, path, ort.Options{}, map[string]ort.Tensor{
		"input_embeds":   {Shape: []int64{1, 4, 64}, Data: x},
		"attention_mask": {Shape: []int64{1, 1, 4, 12}, Data: mask},
		"past_key_0_in":  {Shape: []int64{1, 1, 64, 8}, Data: make([]int8, 64*8)},
	})
	for i, p := range out["probabilities"].Data.([]uint16) {
		if p != 32768+1024 {
			t.Errorf("row %d: the probabilities sum to code %d, want %d", i, p, 32768+1024)
		}
	}
	// The norm makes the one element 1/sqrt(1/64) = 8; row 8 of the weights is
	// 0.01·(j mod 16 − 8), and 8·0.01·16 = 1.28 codes a step.
	for i, k := range out["past_key_0_out"].Data.([]int8) {
		if want := []int8{-10, -9, -8, -6, -5, -4, -3, -1, 0, 1, 3, 4, 5, 6, 8, 9}[i/4%16]; k != want {
			t.Errorf("key element %d: code %d, want %d", i/4, k, want)
		}
	}
}

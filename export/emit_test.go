package export_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/emit"
	"eisft/export/exporttest"
	"eisft/export/ir"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/onnxpb"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/quant"
	"eisft/quant/encoding"
)

var update = flag.Bool("update", false, "write the golden files of the graphs anew")

// listing describes all of a graph that a runtime sees, but for the numbers of its
// constants and the order of these: one thing a line.
func listing(m *onnxpb.ModelProto) string {
	var b strings.Builder
	value := func(kind string, info *onnxpb.ValueInfoProto) {
		p := ir.PortOf(info)
		fmt.Fprintf(&b, "%s %s %s %v\n", kind, p.Name, p.DType, p.Shape)
	}
	for _, v := range m.Graph.Input {
		value("input", v)
	}
	for _, v := range m.Graph.Output {
		value("output", v)
	}
	var constants []string
	for _, c := range m.Graph.Initializer {
		constants = append(constants, fmt.Sprintf("constant %s %s %v\n", c.Name, ir.DType(c.DataType), c.Dims))
	}
	slices.Sort(constants)
	b.WriteString(strings.Join(constants, ""))
	for _, n := range m.Graph.Node {
		fmt.Fprintf(&b, "%s %s: %s -> %s", n.OpType, n.Name, strings.Join(n.Input, " "), strings.Join(n.Output, " "))
		for _, a := range n.Attribute {
			fmt.Fprintf(&b, " %s=%d%v", a.Name, a.I, a.Ints)
		}
		if !strings.HasSuffix(n.OpType, "quantizeLinear") && !strings.HasSuffix(n.OpType, "QuantizeLinear") {
			for _, e := range n.MetadataProps {
				fmt.Fprintf(&b, " %s=%s", e.GetKey(), e.GetValue())
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestGraphsAsBefore holds the graphs of a model, float and quantized, to goldens: the same
// ops on the same constants, under the same names.
func TestGraphsAsBefore(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.NoVerify, o.Quantized = true, exporttest.QuantizedAs(t, m, exporttest.Scheme(t, "w8a16-mixed", quant.Generic))
	dir, info := exported(t, m, o)
	for _, name := range info.GraphFiles() {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		pb := &onnxpb.ModelProto{}
		if err := proto.Unmarshal(raw, pb); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", strings.TrimSuffix(name, ".onnx")+".txt")
		got := listing(pb)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: %s", name, firstDifference(got, string(want)))
		}
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is\n%s\nwant\n%s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// TestOneLoweringTwoForms: the float emitter makes of a graph with encodings the same file
// as of one without, byte by byte; the emitter with Q and DQ writes them around the same
// ops.
func TestOneLoweringTwoForms(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	write := func(name string, src lower.Source, build func(lower.Source, *ir.Graph) lower.Ports) []byte {
		t.Helper()
		e := emit.Emitters.Get(name)
		g := ir.NewGraph("g", ir.Options{})
		build(src, g)
		path := filepath.Join(t.TempDir(), "g"+e.Extension())
		if err := e.Emit(g, "g", ir.Options{}).WriteFile(path); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	plain := lower.Source{Model: m, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll}
	encoded := plain
	encoded.Quantized = exporttest.Quantized(t, m)
	for what, build := range map[string]func(lower.Source, *ir.Graph) lower.Ports{
		"prompt": func(s lower.Source, g *ir.Graph) lower.Ports { return s.Main(g, 4) },
		"commit": lower.Source.Commit,
	} {
		float := write(emit.Float, plain, build)
		if !bytes.Equal(write(emit.Float, encoded, build), float) {
			t.Errorf("%s: encodings change the float graph", what)
		}
		ops := func(raw []byte) (ops map[string]int, coders int) {
			m, err := ir.Parse(what, raw)
			if err != nil {
				t.Fatal(err)
			}
			ops = m.OpCounts()
			coders = ops["QuantizeLinear"] + ops["DequantizeLinear"]
			delete(ops, "QuantizeLinear")
			delete(ops, "DequantizeLinear")
			return ops, coders
		}
		inFloat, none := ops(float)
		inCodes, coders := ops(write(emit.QDQ, encoded, build))
		if fmt.Sprint(inFloat) != fmt.Sprint(inCodes) || none != 0 || coders == 0 {
			t.Errorf("%s: %v with %d Q and DQ, float %v with %d", what, inCodes, coders, inFloat, none)
		}
	}
}

// TestOtherSchemes: what a scheme may say of a kind of tensor needs no code of its own.
// The graphs of schemes that are in no table equal the Go model under the same rounding.
func TestOtherSchemes(t *testing.T) {
	orttest.Require(t)
	type format = encoding.Format
	m := exporttest.Model(t, exporttest.Block(nil), families["head norms"])
	for _, s := range []quant.Scheme{
		{Name: "blocks", Weight: format{Bits: 4, Block: 8}, Head: format{Bits: 8}, Activation: format{Bits: 16, Unsigned: true, ZeroPoint: true}, Cache: format{Bits: 8}},
		{Name: "low-power", Weight: format{Bits: 4, Block: 8, LowPower: true}, Head: format{Bits: 8}, Activation: format{Bits: 16}, Cache: format{Bits: 8}},
		{Name: "weights-alone", Weight: format{Bits: 4, ZeroPoint: true}, Head: format{Bits: 8, ZeroPoint: true}},
		{Name: "wide-cache", Weight: format{Bits: 8, Block: 4, ZeroPoint: true}, Head: format{Bits: 4}, Activation: format{Bits: 8, ZeroPoint: true}, Cache: format{Bits: 16}},
		{Name: "narrow", Weight: format{Bits: 8}, Head: format{Bits: 8}, Activation: format{Bits: 8}, Cache: format{Bits: 8}},
		{Name: "float-activations", Weight: format{Bits: 8}, Head: format{Bits: 8}, Cache: format{Bits: 8, ZeroPoint: true}},
	} {
		t.Run(s.Name, func(t *testing.T) {
			if s.Weight.Block > 0 && s.Activation.Bits == 8 {
				// Above basic, ONNX Runtime fuses these products into an op that has no blocks.
				export.VerifyAt(t, ort.Disabled, ort.Basic)
			}
			o := options()
			o.Quantized, o.QuantizedOnly = exporttest.QuantizedAs(t, m, s), true
			info, report, err := export.Export(t.Context(), m, filepath.Join(t.TempDir(), "runs", "tiny"), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range report.Findings {
				if f.Rule != check.RuleTokens { // of 15 tokens of random weights, whose best ones hang on a hair
					t.Errorf("finding: %s", f)
				}
			}
			v := info.Verification[0]
			t.Logf("%s: %+v", s, v)
			if v.Precision != s.Name || v.Compared != v.Read {
				t.Errorf("%+v", v)
			}
			port := info.Of("4x17", s.Name)[manifest.GenerationGraph].Inputs[6]
			if s.Cache.None() != (port.Encoding == nil) || port.Encoding != nil && port.DType != s.Cache.String()[:len(port.DType)] {
				t.Errorf("the cache is %+v, want %s", port, s.Cache)
			}
		})
	}
}

// TestQuantizedWithoutLogits: a prompt graph that gives no logits leaves out what nothing
// needs, the cache of its last layer among it, and passes.
func TestQuantizedWithoutLogits(t *testing.T) {
	orttest.Require(t)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.Logits, o.Quantized, o.QuantizedOnly = lower.LogitsNone, exporttest.Quantized(t, m), true
	_, info := exported(t, m, o)
	if v := info.Verification[0]; v.Compared == 0 || v.Compared == v.Read {
		t.Errorf("%d of %d tokens compared, want those of which there are logits", v.Compared, v.Read)
	}
}

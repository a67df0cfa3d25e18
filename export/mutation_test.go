package export_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/exporttest"
	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/export/onnxpb"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/quant"
)

// onnxFile is a graph of an exported folder, open to be changed.
type onnxFile struct {
	*onnxpb.ModelProto
	path string
}

// mutate changes the quantized graphs of a folder and then lists the files anew, as if
// they had been exported like that.
func mutate(t testing.TB, dir string, change func(f onnxFile)) {
	t.Helper()
	info, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range info.GraphFiles() {
		if info.PrecisionOf(name) == manifest.Float {
			continue
		}
		f := onnxFile{&onnxpb.ModelProto{}, filepath.Join(dir, name)}
		raw, err := os.ReadFile(f.path)
		if err == nil {
			err = proto.Unmarshal(raw, f.ModelProto)
		}
		if err != nil {
			t.Fatal(err)
		}
		change(f)
		if raw, err = proto.Marshal(f.ModelProto); err == nil {
			err = os.WriteFile(f.path, raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	relist(t, dir, info)
}

// relist gives the manifest the files as they are, and ports the scales of their nodes.
func relist(t testing.TB, dir string, info *manifest.Manifest) {
	t.Helper()
	files := info.Files
	info.Files = nil
	for _, f := range files {
		if err := info.AddFile(dir, f.Name); err != nil {
			t.Fatal(err)
		}
	}
	for i, g := range info.Graphs {
		m, err := ir.Open(filepath.Join(dir, g.Parts[0].File))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range m.Proto.Graph.Node {
			for _, p := range slices.Concat(info.Graphs[i].Inputs, info.Graphs[i].Outputs) {
				if p.Encoding == nil || n.Input[0] != p.Name && n.Output[0] != p.Name {
					continue
				}
				scale, err := m.Tensor(n.Input[1])
				if err != nil {
					t.Fatal(err)
				}
				if p.Encoding.Scales, err = scale.Floats(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
}

// codersOf lists the Q and DQ nodes of a point.
func (f onnxFile) codersOf(point string) []*onnxpb.NodeProto {
	var list []*onnxpb.NodeProto
	for _, n := range f.Graph.Node {
		for _, e := range n.MetadataProps {
			if e.GetKey() == ir.PointKey && e.GetValue() == point {
				list = append(list, n)
			}
		}
	}
	return list
}

// replace gives an input of the coders of a point a constant of its own: the old one with
// other bytes.
func (f onnxFile) replace(t testing.TB, point string, input int, change func(raw []byte)) {
	t.Helper()
	f.replaceOf(t, "", point, input, change)
}

// replaceOf is replace of the nodes of one op: QuantizeLinear or DequantizeLinear.
func (f onnxFile) replaceOf(t testing.TB, op, point string, input int, change func(raw []byte)) {
	t.Helper()
	for i, n := range f.codersOf(point) {
		if op != "" && n.GetOpType() != op {
			continue
		}
		c := proto.Clone(f.constant(t, n.Input[input])).(*onnxpb.TensorProto)
		c.Name += "/changed/" + point + strconv.Itoa(i)
		change(c.RawData)
		f.Graph.Initializer = append(f.Graph.Initializer, c)
		n.Input[input] = c.Name
	}
}

func (f onnxFile) constant(t testing.TB, name string) *onnxpb.TensorProto {
	t.Helper()
	for _, c := range f.Graph.Initializer {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("%s has no constant %s", f.path, name)
	return nil
}

// scaled multiplies the first float of raw.
func scaled(by float32) func(raw []byte) {
	return func(raw []byte) {
		x := math.Float32frombits(binary.LittleEndian.Uint32(raw))
		binary.LittleEndian.PutUint32(raw, math.Float32bits(x*by))
	}
}

// swapFirst swaps the first two floats of raw.
func swapFirst(raw []byte) {
	first := string(raw[:4])
	copy(raw, raw[4:8])
	copy(raw[4:], first)
}

// flip adds one to the code at an index of the weights of a map, whether they lie in the
// graph or in the file of weights; it is shared, so that this is done once.
func (f onnxFile) flip(t testing.TB, point string, index int, done *bool) {
	t.Helper()
	for _, n := range f.codersOf(point) {
		c := f.constant(t, n.Input[0])
		if c.GetDataLocation() != onnxpb.TensorProto_EXTERNAL {
			c.RawData[index]++
			continue
		}
		if *done {
			continue
		}
		*done = true
		at, err := ir.ExternalOf(c)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(filepath.Dir(f.path), at.Location)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[at.Offset+int64(index)]++
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWrongEncodings: graphs that carry one number of the quantized model wrong do not
// pass, however little it changes and though all graphs and the manifest agree on it.
func TestWrongEncodings(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.NoVerify, o.Quantized, o.QuantizedOnly = true, exporttest.Quantized(t, m), true
	l := m.Base.Layers[1]
	scale := func(point string) float32 { return o.Quantized.Point(point).Encoding.Scales[0] }
	inner := quant.InnerPoints(l)
	gate := o.Quantized.Weight(l.Gate.Name)
	head := o.Quantized.Weight(quant.HeadName)
	inlined, shared := false, false
	for _, c := range []struct {
		name   string
		change func(f onnxFile)
		want   string
	}{
		{
			"V cache", func(f onnxFile) { f.replace(t, quant.ValuePoint(l), 1, scaled(1.5)) },
			fmt.Sprintf("of model.layers.1.self_attn.v_proj:out: scale is %.9g, want %.9g as in the quantized model", scale(quant.ValuePoint(l))*1.5, scale(quant.ValuePoint(l))),
		},
		{
			"zero point", func(f onnxFile) { f.replace(t, quant.OutputPoint(l.Down), 2, func(raw []byte) { raw[0]++ }) },
			"of model.layers.1.mlp.down_proj:out: zero point is 1, want 0 as in the quantized model",
		},
		{
			"inlined code", func(f onnxFile) { f.flip(t, l.Gate.Name, 2*gate.Out+3, &inlined) },
			fmt.Sprintf("model.layers.1.mlp.gate_proj.codes: 1 codes of model.layers.1.mlp.gate_proj differ from the quantized model's, the first one for output 3 and input 2: it is %d, want %d", gate.Codes[3*gate.In+2]+1, gate.Codes[3*gate.In+2]),
		},
		{
			"code in the file of weights", func(f onnxFile) { f.flip(t, quant.HeadName, 5*head.Out+7, &shared) },
			fmt.Sprintf("lm_head.codes: 1 codes of lm_head differ from the quantized model's, the first one for output 7 and input 5: it is %d, want %d", head.Codes[7*head.In+5]+1, head.Codes[7*head.In+5]),
		},
		{
			"activation", func(f onnxFile) { f.replace(t, quant.InputPoint(l, l.Down), 1, scaled(1.01)) },
			fmt.Sprintf("of model.layers.1.mlp.down_proj:in: scale is %.9g, want %.9g as in the quantized model", scale(quant.InputPoint(l, l.Down))*1.01, scale(quant.InputPoint(l, l.Down))),
		},
		{
			"scores", func(f onnxFile) { f.replace(t, inner.Scores, 1, scaled(1.5)) },
			fmt.Sprintf("of layers.1.self_attn:scores: scale is %.9g, want %.9g as in the quantized model", scale(inner.Scores)*1.5, scale(inner.Scores)),
		},
		{
			"probabilities", func(f onnxFile) { f.replace(t, inner.Probabilities, 2, func(raw []byte) { raw[0]++ }) },
			"of layers.1.self_attn:probabilities: zero point is 1, want 0 as in the quantized model",
		},
		{
			"residual stream", func(f onnxFile) { f.replace(t, inner.FeedForwardResidual, 1, scaled(1.01)) },
			fmt.Sprintf("of layers.1.mlp:residual: scale is %.9g, want %.9g as in the quantized model", scale(inner.FeedForwardResidual)*1.01, scale(inner.FeedForwardResidual)),
		},
		{
			"rotary tables", func(f onnxFile) { f.replace(t, quant.RotaryPoint, 1, scaled(1.5)) },
			"of rotary: scale is ",
		},
		{
			"attention's scale", func(f onnxFile) { f.flip(t, quant.ConstantPoint(quant.QueryScale(l)), 0, new(bool)) },
			"code 0 of constant:0.35355338 is 32512, want 32767 as in the quantized model",
		},
		{
			"two channels", func(f onnxFile) { f.replace(t, l.Gate.Name, 1, swapFirst) },
			fmt.Sprintf("of model.layers.1.mlp.gate_proj: scale 0 is %.9g, want %.9g as in the quantized model", gate.Scales[1], gate.Scales[0]),
		},
		{
			"no name", func(f onnxFile) {
				for _, n := range f.codersOf(quant.HeadInput) {
					n.MetadataProps = nil
				}
			}, "does not say what it encodes (eisft.point in its metadata)",
		},
		{
			"other name", func(f onnxFile) {
				for _, n := range f.codersOf(quant.HeadInput) {
					n.MetadataProps[0].Value = "lm_head:on"
				}
			}, "encodes lm_head:on, which has no encoding in the quantized model",
		},
		{
			"left out", func(f onnxFile) {
				for _, n := range f.codersOf(quant.HeadInput) {
					n.MetadataProps[0].Value = quant.HeadOutput
				}
			}, "the numbers at lm_head:in are quantized in the model, but not in this graph",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := exported(t, m, o)
			against := export.Against{Quantized: o.Quantized}
			if report, err := export.Check(t.Context(), dir, check.NoTarget, against); err != nil || report.Err() != nil {
				t.Fatalf("before: %v, %v", err, report.Err())
			}
			mutate(t, dir, c.change)
			report, err := export.Check(t.Context(), dir, check.NoTarget, against)
			if err != nil {
				t.Fatal(err)
			}
			if report.Err() == nil {
				t.Fatal("the graphs pass")
			}
			found := 0
			for _, f := range report.Findings {
				if strings.Contains(f.String(), c.want) {
					found++
				}
			}
			if found == 0 {
				t.Errorf("want %q among %q", c.want, report.Findings)
			}
		})
	}
}

// TestOtherQuantizedModel: graphs are compared with the model that they were made from.
func TestOtherQuantizedModel(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.NoVerify, o.Quantized, o.QuantizedOnly = true, exporttest.Quantized(t, m), true
	dir, _ := exported(t, m, o)
	other := *o.Quantized
	other.Calibration.Hash = "0123456789abcdef"
	findings, err := check.Quantized(dir, &other)
	if err != nil || len(findings) != 1 || !strings.Contains(findings[0].Message, "(w8a16, 0123456789ab); name its folder with --quant") {
		t.Errorf("got %v (%v)", findings, err)
	}
}

// TestContradictions: what graphs and manifest of a folder contradict each other in is
// found without a quantized model.
func TestContradictions(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.NoVerify, o.Quantized, o.QuantizedOnly = true, exporttest.Quantized(t, m), true
	l := m.Base.Layers[1]
	one := func(f onnxFile) bool { return strings.HasPrefix(filepath.Base(f.path), "1t") }
	for _, c := range []struct {
		name   string
		change func(f onnxFile)
		spoil  func(m *manifest.Manifest)
		want   string
	}{
		{"scale in one graph", func(f onnxFile) {
			if one(f) {
				f.replace(t, quant.OutputPoint(l.Down), 1, scaled(1.01))
			}
		}, nil, "of model.layers.1.mlp.down_proj:out: scale is "},
		{"zero point in one graph", func(f onnxFile) {
			if one(f) {
				f.replace(t, quant.InputPoint(l, l.O), 2, func(raw []byte) { raw[0]++ })
			}
		}, nil, "of model.layers.1.self_attn.o_proj:in: zero point is "},
		{"channels in one graph", func(f onnxFile) {
			if one(f) {
				f.replace(t, l.Gate.Name, 1, swapFirst)
			}
		}, nil, "of model.layers.1.mlp.gate_proj: scale 0 is "},
		{"code in one graph", func(f onnxFile) {
			if one(f) {
				f.flip(t, l.Gate.Name, 9, new(bool))
			}
		}, nil, `of model.layers.1.mlp.gate_proj: the codes "model.layers.1.mlp.gate_proj.codes" are not those as at `},
		{"manifest", func(onnxFile) {}, func(m *manifest.Manifest) { m.Graphs[0].Inputs[6].Encoding.Scales[0] *= 1.5 }, "past_key_0_in: DequantizeLinear: scale is "},
		{"manifest's zero point", func(onnxFile) {}, func(m *manifest.Manifest) { m.Graphs[1].Outputs[4].Encoding.Zeros = []int32{1} }, "past_value_1_out: QuantizeLinear: zero point is 0, want 1 as the manifest says"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := exported(t, m, o)
			mutate(t, dir, c.change)
			if c.spoil != nil {
				info, err := manifest.Read(dir)
				if err != nil {
					t.Fatal(err)
				}
				c.spoil(info)
				if err := info.Write(dir); err != nil {
					t.Fatal(err)
				}
			}
			findings, err := check.Path(dir, check.NoTarget)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(findings, func(f check.Finding) bool { return strings.Contains(f.String(), c.want) }) {
				t.Errorf("want %q among %q", c.want, findings)
			}
		})
	}
}

// TestVerifySeesWrongScales: what the bit by bit comparison finds also changes logits and
// codes beyond the tolerance where it changes the numbers by much.
func TestVerifySeesWrongScales(t *testing.T) {
	verifySeesWrongScales(t, exporttest.Scheme(t, "w8a16", quant.Generic))
}

// TestSlowVerifySeesWrongScales: so it does for other schemes and targets.
func TestSlowVerifySeesWrongScales(t *testing.T) {
	testfiles.Slow(t)
	verifySeesWrongScales(
		t, exporttest.Scheme(t, "w8a16-mixed", quant.Generic), exporttest.Scheme(t, "w8a16", quant.QNN), exporttest.Scheme(t, "w8a8", quant.Generic),
	)
}

func verifySeesWrongScales(t *testing.T, schemes ...quant.Scheme) {
	t.Helper()
	orttest.Require(t)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.NoVerify, o.QuantizedOnly = true, true
	for _, scheme := range schemes {
		o.Quantized = exporttest.QuantizedAs(t, m, scheme)
		good, _ := exported(t, m, o)
		verify := func(dir string) manifest.Verification {
			t.Helper()
			figures, err := export.Verify(t.Context(), dir, m, o.Quantized)
			if err != nil {
				t.Fatal(err)
			}
			return figures[0]
		}
		if v := verify(good); !v.Passed() {
			t.Fatalf("%s %s before: %+v", scheme.Name, scheme.Target, v)
		}
		for _, c := range []struct {
			what   string
			whole  bool // only where attention is in whole numbers
			points func(l *model.Layer) string
		}{
			{"values", false, quant.ValuePoint},
			{"turned keys", true, func(l *model.Layer) string { return quant.InnerPoints(l).Keys }},
			{"scores", true, func(l *model.Layer) string { return quant.InnerPoints(l).Scores }},
			{"probabilities", true, func(l *model.Layer) string { return quant.InnerPoints(l).Probabilities }},
			{"residual stream", true, func(l *model.Layer) string { return quant.InnerPoints(l).AttentionResidual }},
		} {
			if c.whole && !scheme.IntegerAttention() {
				continue
			}
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			mutate(t, dir, func(f onnxFile) {
				for _, l := range m.Base.Layers {
					f.replaceOf(t, "DequantizeLinear", c.points(l), 1, scaled(1.5))
				}
			})
			if v := verify(dir); v.Passed() {
				t.Errorf("%s %s, %s: %+v: want differences beyond the tolerance", scheme.Name, scheme.Target, c.what, v)
			} else {
				t.Logf("%s %s, %s: mean %.3g of %.3g, max %.3g of %.3g, codes %.3g of %.3g", scheme.Name, scheme.Target, c.what, v.MeanLogitError, v.Tolerance.Mean, v.MaxLogitError, v.Tolerance.Max, v.OtherCodes, v.Tolerance.Codes)
			}
		}
	}
}

package check

import (
	"strings"
	"testing"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

func TestCheckTargets(t *testing.T) {
	one := func(e encoding.Encoding) func(g *ir.Graph, x *ir.Value) {
		return func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Quantize(x, e)) }
	}
	cases := []struct {
		name   string
		target Target
		build  func(g *ir.Graph, x *ir.Value)
		want   string // "" for no finding
	}{
		{"16x16", QNN, func(g *ir.Graph, x *ir.Value) {
			x = g.QDQ(x, act16)
			g.Output("y", g.Quantize(g.MatMul(x, x).Named("square"), act16))
		}, `error: g.onnx: square: MatMul of two 16-bit activations`},
		{"16x8", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Quantize(g.MatMul(g.QDQ(x, act16), g.QDQ(x, cache8)), act16))
		}, ""},
		{"mask", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Relu(g.Input("attention_mask", ir.Float32, 1, 1, 512, 2561)))
		}, "warning: g.onnx: attention_mask: the mask takes 5.0 MiB: above 1 MiB QNN HTP slows down"},
		{"mask of sliding layers", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Relu(g.Input("attention_mask_sliding", ir.Float32, 1, 1, 512, 2561)))
		}, "warning: g.onnx: attention_mask_sliding: the mask takes 5.0 MiB"},
		{"uint16", MediaTek, one(act16), "error: g.onnx: y: uint16 codes: MediaTek takes 16 bits as int16 only"},
		{"zero", MediaTek, one(ir.PerTensor(ir.Int16, 1, 5)), "int16 with a zero point: MediaTek takes int16 as symmetric only"},
		{"channels", MediaTek, one(ir.Int16.Encoding([]float32{1, 2}, nil, 0, 0)), "int16 with several scales: MediaTek takes int16 per tensor only"},
		{"blocks", MediaTek, one(ir.Int8.Encoding([]float32{1, 2}, nil, 0, 2)), "int8 in blocks: MediaTek has no blockwise scales"},
		{"int16", MediaTek, one(ir.PerTensor(ir.Int16, 1, 0)), ""},
		{"uint8", LiteRT, one(ir.PerTensor(ir.UInt8, 1, 0)), "uint8 codes: LiteRT quantizes to signed types"},
		{"zero", LiteRT, one(ir.PerTensor(ir.Int16, 1, 5)), "LiteRT takes int16 as symmetric only"},
		{"asymmetric int8", LiteRT, one(ir.PerTensor(ir.Int8, 1, 5)), ""},
		{"asymmetric weights", LiteRT, func(g *ir.Graph, x *ir.Value) {
			w := g.Dequantize(g.Const("w", []int{2, 1}, []int8{1, 2}), ir.PerTensor(ir.Int8, 1, 5))
			g.Output("y", g.MatMul(x, w))
		}, "int8 weights with a zero point: LiteRT's weights are symmetric"},
		{"blocks", LiteRT, one(ir.Int8.Encoding([]float32{1, 2}, nil, 0, 2)), "warning: g.onnx: y: int8 in blocks"},
		{"int16", OpenVINO, one(act16), "warning: g.onnx: y: uint16 activations: OpenVINO computes them in float"},
		{"weight-only", OpenVINO, func(g *ir.Graph, x *ir.Value) {
			w := g.Dequantize(g.Const("w", []int{2, 2}, ir.Nibbles{1, 2, 3, 4}), ir.Int4.Encoding([]float32{1, 2}, nil, 0, 2))
			g.Output("y", g.MatMul(x, w))
		}, ""},
	}
	for _, c := range cases {
		t.Run(string(c.target)+"/"+c.name, func(t *testing.T) {
			g := ir.NewGraph("g", ir.Options{})
			c.build(g, g.Input("x", ir.Float32, 2, 2))
			pb, err := g.Model()
			if err != nil {
				t.Fatal(err)
			}
			findings := Check([]*ir.Model{parsed(t, "g.onnx", pb)}, nil, c.target)
			if c.want != "" {
				expect(t, findings, c.want)
			} else if len(findings) > 0 {
				t.Errorf("got %v, want nothing", findings)
			}
		})
	}
	if _, err := ParseTarget("tpu"); err == nil || !strings.Contains(err.Error(), `target is "tpu"; it must be one of qnn, mediatek, litert, openvino`) {
		t.Errorf("got %v", err)
	}
}

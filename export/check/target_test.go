package check

import (
	"strings"
	"testing"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

// int16s is a signed symmetric activation.
var int16s = ir.PerTensor(ir.Int16, 1.0/1024, 0)

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
			x = g.QDQ(x, ir.PerTensor(ir.UInt16, 1, 5))
			g.Output("y", g.Quantize(g.MatMul(x, x).Named("square"), act16))
		}, `error: g.onnx: square: MatMul of two 16-bit activations`},
		{"16x16 symmetric", QNN, func(g *ir.Graph, x *ir.Value) {
			k := g.QDQ(g.Transpose(g.QDQ(x, int16s), 1, 0), int16s)
			g.Output("y", g.Quantize(g.MatMul(g.QDQ(x, ir.PerTensor(ir.UInt16, 1, 5)), k), act16))
		}, ""},
		{"16x16 around the middle", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Quantize(g.MatMul(g.QDQ(x, ir.PerTensor(ir.UInt16, 1, 5)), g.QDQ(x, act16)), act16))
		}, ""},
		{"signed first", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Quantize(g.MatMul(g.QDQ(x, int16s), g.QDQ(x, act16)), act16))
		}, "int16 activation: QNN takes 16 bits as uint16, and as int16 only in a MatMul's second operand [qnn-unsigned]"},
		{"signed sum", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Quantize(g.Add(g.QDQ(x, act16), g.QDQ(x, int16s)), act16))
		}, "int16 activation: QNN takes 16 bits as uint16"},
		{"16x8", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Quantize(g.MatMul(g.QDQ(x, act16), g.QDQ(x, cache8)), act16))
		}, ""},
		{"mask", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Add(g.Input("scores", ir.Float32, 2, 2, 64, 2048), g.Slice(g.Input("attention_mask", ir.Float32, 1, 1, 64, 2049), 3, 0, 2048)))
		}, ""},
		{"mask a byte too large", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Add(g.Input("scores", ir.Float32, 2, 2, 64, 2049), g.Slice(g.Input("attention_mask", ir.Float32, 1, 1, 64, 2050), 3, 0, 2049)))
		}, "error: g.onnx: attention_mask: the mask takes 1.0 MiB as it is added to the scores"},
		{"mask of sliding layers", QNN, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Add(g.Input("scores", ir.Float32, 4, 1, 512, 2561), g.Input("attention_mask_sliding", ir.Float32, 1, 1, 512, 2561)))
		}, "error: g.onnx: attention_mask_sliding: the mask takes 10.0 MiB"},
		{"groups", QNN, func(g *ir.Graph, x *ir.Value) {
			w := g.Dequantize(g.Const("w", []int{2, 2}, ir.Nibbles{1, 2, 3, 4}), ir.Int4.Encoding([]float32{1, 2, 0.6391, 1}, nil, 0, 1))
			g.Output("y", g.MatMul(x, w))
		}, "int4 weights in blocks of 1 with scales of their own"},
		{"low-power blocks", QNN, func(g *ir.Graph, x *ir.Value) {
			w := g.Dequantize(g.Const("w", []int{2, 2}, ir.Nibbles{1, 2, 3, 4}), ir.Int4.Encoding([]float32{0.3, 2, 1.6, 0.25}, nil, 0, 1))
			g.Output("y", g.MatMul(x, w))
		}, ""},
		{"float share", QNN, func(g *ir.Graph, x *ir.Value) {
			defer g.FloatRegion()()
			x = g.QDQ(x, act16)
			g.Output("y", g.Quantize(g.MatMul(x, x), act16))
		}, "warning: g.onnx: 100 % of its multiply-accumulates are in float [float-share]"},
		{"uneven split", MediaTek, func(g *ir.Graph, x *ir.Value) {
			p := g.Split(g.Input("z", ir.Float32, 2, 3), 1, 2, 1)
			g.Output("y", p[0])
			g.Output("w", p[1])
		}, "error: g.onnx: y: Split into pieces of 2 and 1: MediaTek has no SPLIT_V; use Slice [mediatek-split]"},
		{"even split", MediaTek, func(g *ir.Graph, x *ir.Value) {
			p := g.Split(x, 1, 1, 1)
			g.Output("y", p[0])
			g.Output("w", p[1])
		}, ""},
		{"mask value", Generic, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Quantize(g.Add(g.QDQ(x, act16), g.Dequantize(g.Input("attention_mask", ir.Int16, 2, 2), ir.PerTensor(ir.Int16, 1e4/32767, 0))), act16))
		}, "reaches -1e+04: a step of its codes is 0.305"},
		{"mask of -50", Generic, func(g *ir.Graph, x *ir.Value) {
			g.Output("y", g.Quantize(g.Add(g.QDQ(x, act16), g.Dequantize(g.Input("attention_mask", ir.Int16, 2, 2), ir.PerTensor(ir.Int16, 50./32767, 0))), act16))
		}, ""},
		{"eps", Generic, func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Add(x, g.Scalar(1e-9))) }, "Add with \"const_1e-09\" = 1e-09, input 1: float16 has hardly a number there"},
		{"floor", Generic, func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Max(x, g.Scalar(1e-5))) }, "Max with \"const_1e-05\" = 1e-05"},
		{"larger eps", Generic, func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Add(x, g.Scalar(1e-4))) }, ""},
		{"vanishing", Generic, func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Mul(x, g.Scalar(1e-8))) }, "the constant \"const_1e-08\" = 1e-08 is 0 in float16 [float16]"},
		{"infinite", Generic, func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Mul(x, g.Scalar(1e5))) }, "the constant \"const_100000\" = 100000 is beyond the largest float16"},
		{"square", Generic, func(g *ir.Graph, x *ir.Value) { x = g.Add(x, x); g.Output("y", g.Mul(x, x)) }, "it squares \"Add\" as it is"},
		{"scaled square", Generic, func(g *ir.Graph, x *ir.Value) { x = g.Mul(x, g.Scalar(0.1)); g.Output("y", g.Mul(x, x)) }, ""},
		{"logits", Generic, func(g *ir.Graph, x *ir.Value) { g.Output("logits", g.Relu(g.Input("z", ir.Float32, 1, 512, 16384))) }, "warning: g.onnx: logits: the logits take 32 MiB a step"},
		{"Core ML", CoreML, one(int16s), "warning: g.onnx: y: int16 codes: Core ML has weights of 4 and 8 bits"},
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
		{"blocks", LiteRT, one(ir.Int8.Encoding([]float32{1, 2}, nil, 0, 2)), "error: g.onnx: y: int8 in blocks: LiteRT's NPU plugins refuse"},
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
	if _, err := ParseTarget("tpu"); err == nil || !strings.Contains(err.Error(), `target is "tpu"; it must be one of generic, qnn, mediatek, litert, openvino, coreml`) {
		t.Errorf("got %v", err)
	}
}

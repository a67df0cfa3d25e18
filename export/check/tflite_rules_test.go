package check

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"eisft/export/ir"
	"eisft/export/tflite"
	"eisft/quant/encoding"
)

// TestRulesOfTFLite: a target's rules hold for TFLite files, too.
func TestRulesOfTFLite(t *testing.T) {
	constant := func(name string, v float32) *tflite.Tensor {
		return &tflite.Tensor{Name: name, DType: ir.Float32, Shape: []int{1}, Raw: binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))}
	}
	codes := func(name string, e encoding.Encoding, raw []byte) *tflite.Tensor {
		return &tflite.Tensor{Name: name, DType: ir.CodeType(e), Shape: []int{2}, Encoding: &e, Raw: raw}
	}
	shifted := encoding.Signed(8, 0.1)
	shifted.Zeros = []int32{3}
	several := encoding.Encoding{Bits: 16, Scales: []float32{0.1, 0.2}}
	s := tflite.ReadSignature{
		Name: "decode",
		Tensors: []*tflite.Tensor{
			constant("eps", 1e-9), constant("huge", 1e6), constant("fine", 0.5), constant("zero", 0),
			codes("activation", encoding.Signed(16, 0.1), nil), codes("weight", shifted, []byte{1, 2}), codes("shifted", shifted, nil), codes("several", several, nil),
		},
		Outputs: []tflite.Port{{Name: "logits", Tensor: &tflite.Tensor{DType: ir.Float32, Shape: []int{1, 512, 151936}}}},
	}
	always := []string{
		"warning logits-bytes: decode: logits: the logits take 296 MiB a step; export those of the last token (--logits last)",
		"error float16: decode: eps: the constant 1e-09 is 0 in float16", "error float16: decode: huge: the constant 1e+06 is beyond the largest float16, 65504",
	}
	for target, more := range map[Target][]string{
		NoTarget: nil,
		MediaTek: {"error mediatek-16: decode: several: int16 with several scales: MediaTek takes int16 per tensor only"},
		LiteRT:   {"error litert-symmetric: decode: weight: int8 weights with a zero point: LiteRT's weights are symmetric"},
		OpenVINO: {
			"warning openvino-16: decode: activation: int16 activations: OpenVINO computes them in float; 8 bits, or weights alone in codes, gain more",
			"warning openvino-16: decode: several: int16 activations: OpenVINO computes them in float; 8 bits, or weights alone in codes, gain more",
		},
	} {
		var findings []Finding
		(&lite{&tflite.Model{Path: "model.tflite"}, &findings, RuleTFLite}).checkRules(s, target)
		var got []string
		for _, f := range findings {
			got = append(got, fmt.Sprintf("%s %s: %s: %s", f.Severity, f.Rule, f.Node, f.Message))
		}
		if want := slices.Concat(always, more); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
}

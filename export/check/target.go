package check

import (
	"strings"

	"eisft/internal/enum"
	"eisft/quant/encoding"
)

// qnnMaskBytes is the attention mask's size above which it leaves the fast memory
// of Qualcomm's HTP.
const qnnMaskBytes = 1 << 20

// targets are the vendors with their rules, beside the contract.
var targets = enum.NewTable[Target, []func(*graph)]("target").
	With(QNN, []func(*graph){
		matMulOperands,
		maskSize,
	}).
	With(MediaTek, []func(*graph){
		encodings(Error, any16, unsigned, "%s codes: MediaTek takes 16 bits as int16 only"),
		encodings(Error, any16, hasZero, "%s with a zero point: MediaTek takes int16 as symmetric only"),
		encodings(Error, any16, perChannel, "%s with several scales: MediaTek takes int16 per tensor only"),
		encodings(Error, anyTensor, blockwise, "%s in blocks: MediaTek has no blockwise scales"),
	}).
	With(LiteRT, []func(*graph){
		encodings(Error, anyTensor, unsigned, "%s codes: LiteRT quantizes to signed types"),
		encodings(Error, any16, hasZero, "%s with a zero point: LiteRT takes int16 as symmetric only"),
		encodings(Error, weight, hasZero, "%s weights with a zero point: LiteRT's weights are symmetric"),
		encodings(Warning, anyTensor, blockwise, "%s in blocks: only LiteRT runtimes with blockwise weights run it"),
	}).
	With(OpenVINO, []func(*graph){
		encodings(Warning, activation16, always, "%s activations: OpenVINO computes them in float; 8 bits, or weights alone in codes, gain more"),
	})

// scope selects the encodings that a rule is about, by what they encode.
type scope func(e encoding.Encoding, isWeight bool) bool

func anyTensor(encoding.Encoding, bool) bool         { return true }
func any16(e encoding.Encoding, _ bool) bool         { return e.Bits == 16 }
func weight(_ encoding.Encoding, isWeight bool) bool { return isWeight }

func activation16(e encoding.Encoding, isWeight bool) bool { return e.Bits == 16 && !isWeight }

func always(encoding.Encoding) bool       { return true }
func perChannel(e encoding.Encoding) bool { return len(e.Scales) > 1 }
func blockwise(e encoding.Encoding) bool  { return e.Block > 0 }

func unsigned(e encoding.Encoding) bool { return e.Unsigned }
func hasZero(e encoding.Encoding) bool  { return !e.Symmetric() }

// encodings makes a rule about Q and DQ nodes: those in scope that violate it get
// the message, which names their type. Q and DQ of one activation give one finding.
func encodings(s Severity, in scope, violates func(encoding.Encoding) bool, message string) func(*graph) {
	return func(g *graph) {
		for _, n := range g.nodes {
			e, ok := g.encodings[n]
			if !ok || isDQ(n) && g.producers[input(n, 0)] != nil && isQ(g.producers[input(n, 0)]) {
				continue
			}
			if in(e, g.isWeight(n)) && violates(e) {
				g.report(s, nodeName(n), message, e.Type())
			}
		}
	}
}

// matMulOperands: Qualcomm's HTP multiplies a 16-bit activation by 8 bits at most.
func matMulOperands(g *graph) {
	for _, n := range g.nodes {
		if n.GetOpType() == "MatMul" && g.wideActivation(input(n, 0)) && g.wideActivation(input(n, 1)) {
			g.report(Error, nodeName(n), "MatMul of two 16-bit activations, %q and %q: QNN needs one of them in 8 bits", input(n, 0), input(n, 1))
		}
	}
}

// wideActivation tells whether a value is a dequantized 16-bit activation.
func (g *graph) wideActivation(name string) bool {
	dq := g.producers[name]
	e, ok := g.encodings[dq]
	return ok && isDQ(dq) && activation16(e, g.isWeight(dq))
}

func maskSize(g *graph) {
	for _, p := range g.Inputs {
		if !strings.HasPrefix(p.Name, "attention_mask") || !p.Static() {
			continue
		}
		bytes := float64(p.DType.Bits()) / 8
		for _, size := range p.Shape {
			bytes *= float64(size)
		}
		if bytes > qnnMaskBytes {
			g.report(Warning, p.Name, "the mask takes %.1f MiB: above 1 MiB QNN HTP slows down; export fewer tokens a step or quantize the mask", bytes/(1<<20))
		}
	}
}

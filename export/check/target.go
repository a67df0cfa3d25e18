package check

import (
	"slices"
	"strings"

	"eisft/export/ir"
	"eisft/export/onnxpb"
	"eisft/quant/encoding"
)

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

// codesRule is about encodings: those in scope that violate it get the message, which names
// their type.
type codesRule struct {
	severity Severity
	in       scope
	violates func(encoding.Encoding) bool
	message  string
}

// checkCodes holds Q and DQ nodes to a rule. Q and DQ of one activation give one finding.
func (g *graph) checkCodes(r codesRule) {
	for _, n := range g.nodes {
		e, ok := g.encodings[n]
		if !ok || isDQ(n) && g.producers[input(n, 0)] != nil && isQ(g.producers[input(n, 0)]) {
			continue
		}
		if r.in(e, g.isWeight(n)) && r.violates(e) {
			g.report(r.severity, nodeName(n), r.message, e.Type())
		}
	}
}

// matMulOperands: see qnn-matmul-16.
func matMulOperands(g *graph) {
	for _, n := range g.nodes {
		if n.GetOpType() != "MatMul" {
			continue
		}
		a, wideA := g.wideActivation(input(n, 0))
		b, wideB := g.wideActivation(input(n, 1))
		if wideA && wideB && !centred(a) && !centred(b) {
			g.report(Error, nodeName(n), "MatMul of two 16-bit activations, %q and %q, neither symmetric: QNN needs one of them symmetric (HTP from V73 on), or in 8 bits", input(n, 0), input(n, 1))
		}
	}
}

// wideActivation returns the encoding of a value that is a dequantized 16-bit activation.
func (g *graph) wideActivation(name string) (encoding.Encoding, bool) {
	dq := g.producers[name]
	e, ok := g.encodings[dq]
	return e, ok && isDQ(dq) && activation16(e, g.isWeight(dq))
}

// centred tells whether 0 is in the middle of the codes.
func centred(e encoding.Encoding) bool {
	middle := int32(0)
	if e.Unsigned {
		middle = 1 << (e.Bits - 1)
	}
	return !slices.ContainsFunc(e.Scales, func(float32) bool { return e.Zero(0) != middle })
}

// unsigned16: see qnn-unsigned.
func unsigned16(g *graph) {
	for _, n := range g.nodes {
		e, ok := g.encodings[n]
		if !ok || e.Unsigned || !activation16(e, g.isWeight(n)) || isDQ(n) && g.producers[input(n, 0)] != nil {
			continue
		}
		if !e.Symmetric() || !g.secondOperand(output(n), 0) {
			g.report(Error, nodeName(n), "%s activation: QNN takes 16 bits as uint16, and as int16 only in a MatMul's second operand", e.Type())
		}
	}
}

// maxChain bounds how many ops a value is followed through.
const maxChain = 16

// moves are the ops that only move what they read.
var moves = []string{"Reshape", "Transpose", "Slice", "Split", "Concat", "QuantizeLinear", "DequantizeLinear"}

// secondOperand tells whether all that a value ends in are second operands of MatMuls.
func (g *graph) secondOperand(name string, depth int) bool {
	next := g.consumers[name]
	if len(next) == 0 || depth > maxChain {
		return g.isOutputPort(name) // its codes go to the cache, and come back
	}
	return !slices.ContainsFunc(next, func(n *onnxpb.NodeProto) bool {
		switch op := n.GetOpType(); {
		case op == "MatMul":
			return input(n, 1) != name || input(n, 0) == name
		case slices.Contains(moves, op):
			return slices.ContainsFunc(n.GetOutput(), func(o string) bool { return !g.secondOperand(o, depth+1) })
		}
		return true
	})
}

func (g *graph) isOutputPort(name string) bool {
	return slices.ContainsFunc(g.Outputs, func(p ir.Port) bool { return p.Name == name })
}

// QNNMaskBytes is the largest mask that the HTP was seen to apply rightly.
const QNNMaskBytes = 1 << 20

// maskPrefix begins the names of masks.
const maskPrefix = "attention_mask"

// maskSize: see mask-bytes.
func maskSize(g *graph) {
	for _, p := range g.Inputs {
		if !strings.HasPrefix(p.Name, maskPrefix) || !p.Static() {
			continue
		}
		if bytes := g.tiledMask(p.Name); bytes > QNNMaskBytes {
			g.report(Error, p.Name, "the mask takes %.1f MiB as it is added to the scores (2 bytes × heads × T × (C+T)): above 1 MiB the HTP was seen to apply it to the wrong rows; export for --target qnn, which adds it in pieces, fewer tokens a step or a smaller cache", bytes/(1<<20))
		}
	}
}

func elements(shape []int64) float64 {
	n := 1.0
	for _, size := range shape {
		n *= float64(size)
	}
	return n
}

// follow calls added for every sum that a value goes into as it is, moved or in codes.
func (g *graph) follow(name string, added func(sum *onnxpb.NodeProto)) {
	seen := map[*onnxpb.NodeProto]bool{}
	var walk func(name string)
	walk = func(name string) {
		for _, n := range g.consumers[name] {
			switch op := n.GetOpType(); {
			case seen[n]:
			case op == "Add":
				added(n)
			case slices.Contains(moves, op):
				seen[n] = true
				for _, o := range n.GetOutput() {
					walk(o)
				}
			}
		}
	}
	walk(name)
}

// leastMask is how far a quantized mask may reach.
const leastMask = -500

// checkMaskValue: see mask-value.
func checkMaskValue(g *graph) {
	for _, p := range g.Inputs {
		if !strings.HasPrefix(p.Name, maskPrefix) {
			continue
		}
		coders := slices.Clone(g.consumers[p.Name])
		g.follow(p.Name, func(sum *onnxpb.NodeProto) { coders = append(coders, g.consumers[output(sum)]...) })
		for _, n := range coders {
			e, ok := g.encodings[n]
			if !ok {
				continue
			}
			if lo, _ := e.Reach(0); lo < leastMask {
				g.report(Error, nodeName(n), "%s of the mask or the scores with it reaches %.4g: a step of its codes is %.3g, which is nothing to tell scores by; let the mask be -50 where there is nothing", e.Type(), lo, e.Scales[0])
			}
		}
	}
}

// plainGroups: see qnn-groups.
func plainGroups(g *graph) {
	for _, n := range g.nodes {
		e, ok := g.encodings[n]
		if !ok || e.Block == 0 || !g.isWeight(n) {
			continue
		}
		shape, lowPower := g.ports[input(n, 0)].Shape, false
		if len(shape) == 2 {
			_, _, lowPower = e.FindMultiples(int(shape[0]), int(shape[1]))
		}
		if !lowPower {
			g.report(Error, nodeName(n), "%s weights in blocks of %d with scales of their own: HTP takes low-power blocks (w4a16-lpbq), whose scales are whole multiples of one for each channel", e.Type(), e.Block)
		}
	}
}

// mostFloat is the share of float multiply-accumulates above which a quantized graph is
// slow.
const mostFloat = 0.1

// floatShare: see float-share.
func floatShare(g *graph) {
	if !slices.ContainsFunc(g.nodes, isQ) {
		return // a float graph, or one with quantized weights alone
	}
	if share := g.macs().FloatShare(); share > mostFloat {
		g.report(Warning, "", "%.0f %% of its multiply-accumulates are in float", 100*share)
	}
}

// macs counts multiply-accumulates. An op with integers reads codes on both sides, and is not
// marked as kept in float.
func (g *graph) macs() ir.MACs {
	var m ir.MACs
	quantized := slices.ContainsFunc(g.nodes, isQ)
	for _, n := range g.nodes {
		integers := quantized && !keptFloat(n) && g.fromCodes(input(n, 0)) && g.fromCodes(input(n, 1))
		m.Add(n.GetOpType(), g.ports[input(n, 1)].Shape, g.ports[output(n)].Shape, !integers)
	}
	return m
}

func (g *graph) fromCodes(name string) bool {
	return g.producers[name] != nil && isDQ(g.producers[name])
}

// unevenSplit: see mediatek-split.
func unevenSplit(g *graph) {
	for _, n := range g.nodes {
		if n.GetOpType() != "Split" || len(n.GetOutput()) == 0 {
			continue
		}
		axis := intAttr(n, "axis", 0)
		first := g.ports[n.GetOutput()[0]].Shape
		if axis < 0 {
			axis += len(first)
		}
		for _, o := range n.GetOutput()[1:] {
			if s := g.ports[o].Shape; axis >= 0 && axis < len(s) && axis < len(first) && s[axis] != first[axis] {
				g.report(Error, nodeName(n), "Split into pieces of %d and %d: MediaTek has no SPLIT_V; use Slice", first[axis], s[axis])
				break
			}
		}
	}
}

// mostLogits is the size of logits that a step may give.
const mostLogits = 16 << 20

// checkLogits: see logits-bytes.
func checkLogits(g *graph) {
	for _, p := range g.Outputs {
		if p.Name != "logits" || !p.Static() {
			continue
		}
		if bytes := elements(p.Shape) * float64(p.DType.Bits()) / 8; bytes > mostLogits {
			g.report(Warning, p.Name, "the logits take %.0f MiB a step; export those of the last token (--logits last)", bytes/(1<<20))
		}
	}
}

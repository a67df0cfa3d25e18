package check

import (
	"fmt"
	"math"
	"slices"

	"eisft/export/onnxpb"
	"eisft/model/kernels"
)

// leastEps is the least ε that float16 keeps as a normal number with some bits.
const leastEps = float32(1e-4)

// checkFloat16: see the rule float16. Ops of a quantized graph that are not marked as kept
// in float compute with integers.
func checkFloat16(g *graph) {
	quantized := slices.ContainsFunc(g.nodes, isQ)
	reported := map[string]bool{}
	for _, n := range g.nodes {
		if isQ(n) || isDQ(n) || quantized && !keptFloat(n) {
			continue
		}
		for i, name := range n.GetInput() {
			v, ok := g.scalar(name)
			if !ok || v == 0 || reported[name] || n.GetOpType() == "Reshape" {
				continue
			}
			lost := lostInFloat16(v)
			reported[name] = true
			switch {
			case (n.GetOpType() == "Add" || n.GetOpType() == "Max") && float32(math.Abs(float64(v))) < leastEps:
				g.report(Error, nodeName(n), "%s with %q = %g, input %d: float16 has hardly a number there; scale both sides so that it is at least %g", n.GetOpType(), name, v, i, leastEps)
			case lost != "":
				g.report(Error, nodeName(n), "the constant %q = %g %s", name, v, lost)
			default:
				reported[name] = false
			}
		}
		if n.GetOpType() == "Mul" && input(n, 0) == input(n, 1) && !g.bounded(input(n, 0)) {
			g.report(Error, nodeName(n), "it squares %q as it is: above 256 the square is beyond float16; divide by a scale before", input(n, 0))
		}
	}
}

// lostInFloat16 says what becomes of a number other than 0 that float16 does not have, "" if it
// has it.
func lostInFloat16(v float32) string {
	switch size := math.Abs(float64(v)); {
	case v == 0:
		return ""
	case size <= kernels.ZeroF16:
		return "is 0 in float16"
	case size > kernels.MaxF16:
		return fmt.Sprintf("is beyond the largest float16, %d", kernels.MaxF16)
	default:
		return ""
	}
}

// scalar returns the number of a float constant of one.
func (g *graph) scalar(name string) (float32, bool) {
	if !g.isConstant(name) || !g.isFloat(name) || elements(g.ports[name].Shape) != 1 {
		return 0, false
	}
	v, err := g.constantFloats(name)
	if err != nil || len(v) != 1 {
		return 0, false
	}
	return v[0], true
}

// bounding are the ops whose results are within bounds, or are scaled.
var bounding = []string{"Div", "Min", "Max", "Sigmoid", "Tanh", "Softmax"}

// bounded tells whether a value was divided, bounded or scaled by a constant before.
func (g *graph) bounded(name string) bool {
	n := g.producers[name]
	if n == nil {
		return false
	}
	if n.GetOpType() == "Mul" {
		return slices.ContainsFunc(n.GetInput(), g.isConstant)
	}
	return slices.Contains(bounding, n.GetOpType()) || slices.Contains(moves, n.GetOpType()) && g.movedBounded(n)
}

// movedBounded follows what only moves.
func (g *graph) movedBounded(n *onnxpb.NodeProto) bool {
	if isDQ(n) {
		return false
	}
	return g.bounded(input(n, 0))
}

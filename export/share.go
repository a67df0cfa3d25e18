package export

import "eisft/export/ir"

// floatShare is the share of the multiplications in MatMul nodes that are kept in float, of
// a graph with encodings: products with scores, gates and the memory by design, and all
// that a scheme leaves there. What masks hide is counted, since a graph computes it.
func floatShare(g *ir.Graph) float64 {
	float, all := 0.0, 0.0
	for _, n := range g.Nodes() {
		if n.Op() != "MatMul" {
			continue
		}
		products := float64(n.Inputs()[0].Dim(-1))
		for _, size := range n.Outputs()[0].Shape() {
			products *= float64(size)
		}
		all += products
		if n.KeptFloat() {
			float += products
		}
	}
	if all == 0 {
		return 0
	}
	return float / all
}

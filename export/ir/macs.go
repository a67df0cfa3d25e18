package ir

// MACs counts the multiply-accumulates of products: those that are computed in float, and
// all. What masks hide is counted, since a graph computes it.
type MACs struct{ Float, All float64 }

// Add counts a node that makes result [..., rows, columns] of two factors, if it is a MatMul
// by one [..., inner, columns] or a Conv by one [out, inner, ...].
func (m *MACs) Add(op string, second, result []int64, float bool) {
	inner := len(second) - 2
	switch {
	case inner < 0 || op != "MatMul" && op != "Conv":
		return
	case op == "Conv":
		inner = 1
	}
	products := float64(second[inner])
	for _, size := range result {
		products *= float64(size)
	}
	m.All += products
	if float {
		m.Float += products
	}
}

// FloatShare is the share of those in float, 0 where there are none.
func (m MACs) FloatShare() float64 {
	if m.All == 0 {
		return 0
	}
	return m.Float / m.All
}

// MACs counts those of the graph's file. In float are nodes that are kept there: products
// with scores, gates and the memory by design, and all that a scheme leaves there.
func (g *Graph) MACs() MACs {
	var m MACs
	for _, n := range g.Live() {
		m.add(n)
	}
	return m
}

func (m *MACs) add(n *Node) {
	if len(n.inputs) > 1 {
		m.Add(n.op, wide(n.inputs[1].shape), wide(n.outputs[0].shape), n.keepFloat)
	}
}

// Products counts the node's multiply-accumulates, 0 if it is no product.
func (n *Node) Products() float64 {
	var m MACs
	m.add(n)
	return m.All
}

// Live lists the nodes that the graph's file has: those that some output needs.
func (g *Graph) Live() []*Node {
	nodes, _ := g.live()
	return nodes
}

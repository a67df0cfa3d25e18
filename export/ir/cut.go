package ir

import (
	"maps"
	"slices"
)

// Cut is a value at which a graph is divided, and the name that it has as an output of one
// part and an input of those behind it.
type Cut struct {
	Name  string
	Value *Value
}

// Divide makes several graphs of one, which compute the same one after another: each ends at a
// cut, the last one at the graph's end. A part has the outputs that no earlier cut keeps from
// it, and the inputs that it needs. What several parts need and no cut leads to (a mask that is
// laid out once) is computed in each of them. A part without outputs is left out, and the last one
// has the inputs that nothing needs.
func (g *Graph) Divide(cuts []Cut) []*Graph {
	if g.err != nil || len(cuts) == 0 {
		return []*Graph{g}
	}
	d := &division{graph: g, cuts: cuts, behind: map[*Value]int{}, read: map[*Value]bool{}}
	for _, n := range g.nodes {
		behind := 0
		for _, v := range n.inputs {
			behind = max(behind, d.behind[v])
			if i := d.cut(v); i >= 0 {
				behind = max(behind, i+1)
			}
		}
		for _, v := range n.outputs {
			d.behind[v] = behind
		}
	}
	var parts []*Graph
	crossing := map[*Value]bool{} // cut values that later parts read
	for i := len(cuts); i >= 0; i-- {
		if p := d.part(i, crossing); len(p.outputs) > 0 {
			parts = append(parts, p)
		}
	}
	slices.Reverse(parts)
	last := parts[len(parts)-1]
	for _, v := range g.inputs {
		if !d.read[v] {
			last.inputs = append(last.inputs, (&part{last, map[*Value]*Value{}}).value(v))
		}
	}
	return parts
}

// division is a graph on its way into parts.
type division struct {
	graph  *Graph
	cuts   []Cut
	behind map[*Value]int  // the number of the last cut that leads to a value, from 1 on; 0: none
	read   map[*Value]bool // inputs that a part has
}

// cut is the index of the cut at a value, -1 where there is none.
func (d *division) cut(v *Value) int {
	return slices.IndexFunc(d.cuts, func(c Cut) bool { return c.Value == v })
}

// part makes the part behind the first i cuts. It adds the cut values that it reads to those
// that cross.
func (d *division) part(i int, crossing map[*Value]bool) *Graph {
	from := d.graph
	g := NewGraph(from.name, Options{Opset: from.opset})
	p := &part{graph: g, values: map[*Value]*Value{}}
	ends := []*Output{}
	for _, c := range d.cuts {
		if crossing[c.Value] && d.behind[c.Value] == i {
			ends = append(ends, &Output{Name: c.Name, Value: c.Value, encoded: c.Value.encoded})
		}
	}
	for _, o := range from.outputs {
		if d.behind[o.Value] == i {
			ends = append(ends, o)
		}
	}
	needed := map[*Value]bool{}
	for _, o := range ends {
		needed[o.Value] = true
	}
	var nodes []*Node
	for _, n := range slices.Backward(from.nodes) {
		if !slices.ContainsFunc(n.outputs, func(v *Value) bool { return needed[v] && !(d.cut(v) >= 0 && d.behind[v] < i) }) {
			continue
		}
		nodes = append(nodes, n)
		for _, v := range n.inputs {
			needed[v] = true
		}
	}
	for _, c := range d.cuts {
		if needed[c.Value] && d.behind[c.Value] < i {
			crossing[c.Value] = true
			g.inputs = append(g.inputs, p.value(c.Value).called(c.Name))
		}
	}
	for _, v := range from.inputs {
		if needed[v] {
			g.inputs = append(g.inputs, p.value(v))
			d.read[v] = true
		}
	}
	for _, v := range from.constants {
		if needed[v] {
			g.constants = append(g.constants, p.value(v))
		}
	}
	for _, n := range slices.Backward(nodes) {
		g.nodes = append(g.nodes, p.node(n))
	}
	for _, o := range ends {
		g.outputs = append(g.outputs, &Output{Name: o.Name, Value: p.value(o.Value), encoded: o.encoded})
	}
	maps.Copy(g.metadata, from.metadata)
	return g
}

// part is one of a division's graphs, with the values that stand for those of the whole.
type part struct {
	graph  *Graph
	values map[*Value]*Value
}

// value is what stands for a value of the whole: without a producer until its node is there.
func (p *part) value(v *Value) *Value {
	if p.values[v] == nil {
		own := *v
		own.graph, own.producer = p.graph, nil
		p.values[v] = &own
	}
	return p.values[v]
}

func (v *Value) called(name string) *Value {
	v.name = name
	return v
}

func (p *part) node(n *Node) *Node {
	own := *n
	own.inputs, own.outputs = nil, nil
	for _, v := range n.inputs {
		own.inputs = append(own.inputs, p.value(v))
	}
	for _, v := range n.outputs {
		made := p.value(v)
		made.producer = &own
		own.outputs = append(own.outputs, made)
	}
	return &own
}

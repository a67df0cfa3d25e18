package ir_test

import (
	"fmt"
	"slices"
	"testing"

	"eisft/export/ir"
)

// TestDivide: a chain of three sums, all of which read one slice of the mask, cut behind the
// first and the second: what reads a cut value is behind the cut. What nothing reads is an input of the last part.
func TestDivide(t *testing.T) {
	g := ir.NewGraph("g", ir.Options{})
	x, mask := g.Input("x", ir.Float32, 1, 4), g.Input("mask", ir.Float32, 1, 5)
	g.Input("unread", ir.Float32, 1)
	shared := g.Slice(mask, 1, 0, 4)
	var sums []*ir.Value
	for i := range 3 {
		x = g.Add(x, shared)
		sums = append(sums, x)
		g.Output(fmt.Sprintf("state%d", i), g.Mul(x, g.Scalar(2)))
	}
	g.Output("end", x)
	parts := g.Divide([]ir.Cut{{Name: "h1", Value: sums[0]}, {Name: "h2", Value: sums[1]}})
	want := []string{
		"[x mask] [Slice Add] [h1]",
		"[h1 mask] [Slice Mul Add] [h2 state0]",
		"[h2 mask unread] [Slice Mul Add Mul] [state1 state2 end]",
	}
	var got []string
	for _, p := range parts {
		var inputs, nodes, outputs []string
		for _, v := range p.Inputs() {
			inputs = append(inputs, v.Name())
		}
		for _, n := range p.Nodes() {
			nodes = append(nodes, n.Op())
		}
		for _, o := range p.Outputs() {
			outputs = append(outputs, o.Name)
		}
		got = append(got, fmt.Sprint(inputs, nodes, outputs))
	}
	if !slices.Equal(got, want) {
		t.Errorf("parts %q, want %q", got, want)
	}
	if whole := g.Divide(nil); len(whole) != 1 || whole[0] != g {
		t.Error("a graph without cuts is not itself")
	}
}

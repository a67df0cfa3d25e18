package check

import (
	"path/filepath"
	"testing"

	"eisft/export/ir"
)

// TestMeasure: of what is alive at one time, codes count where they are all that is read,
// and neither inputs nor outputs do.
func TestMeasure(t *testing.T) {
	for name, tc := range map[string]struct {
		build func(g *ir.Graph, x *ir.Value)
		want  int64
	}{
		"two at once": {func(g *ir.Graph, x *ir.Value) {
			a := g.Relu(x)
			g.Output("y", g.Add(a, g.Sigmoid(a)))
		}, 2 * 64},
		"one after another": {func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Relu(g.Sigmoid(g.Relu(x)))) }, 2 * 64},
		"codes":             {func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Relu(g.QDQ(g.Relu(x), cache8))) }, 16},
		"codes read late": {func(g *ir.Graph, x *ir.Value) {
			a := g.QDQ(g.Relu(x), cache8)
			g.Output("y", g.Add(a, g.QDQ(g.Sigmoid(g.QDQ(g.Tanh(a), cache8)), cache8)))
		}, 3 * 16},
		"nothing": {func(g *ir.Graph, x *ir.Value) { g.Output("y", g.Relu(x)) }, 0},
	} {
		g := ir.NewGraph("g", ir.Options{})
		tc.build(g, g.Input("x", ir.Float32, 4, 4))
		path := filepath.Join(t.TempDir(), "g.onnx")
		if err := g.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		m, err := ir.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := Measure(m); err != nil || f.Activations != tc.want {
			t.Errorf("%s: %d bytes alive at one time (%v), want %d", name, f.Activations, err, tc.want)
		}
	}
	g := ir.NewGraph("g", ir.Options{})
	mask := g.Input("attention_mask", ir.Float32, 1, 1, 4, 8)
	w := g.Const("w", []int{8, 2}, make([]float32, 16))
	g.Output("y", g.MatMul(g.Add(g.Input("scores", ir.Float32, 2, 3, 4, 8), mask), w))
	path := filepath.Join(t.TempDir(), "g.onnx")
	if err := g.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	m, err := ir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Measure(m)
	if want := int64(2 * 2 * 3 * 4 * 8); err != nil || f.Masks != 4*4*8 || f.TiledMask != want || f.Inline != 64 || f.All != 2*3*4*8*2 || f.Float != f.All {
		t.Errorf("%+v (%v)", f, err)
	}
}

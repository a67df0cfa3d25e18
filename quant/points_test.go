package quant

import (
	"slices"
	"testing"

	"eisft/model"
)

// layerOf returns a layer of nothing but names, with a norm over the keys or
// without.
func layerOf(keyNorm bool) *model.Layer {
	m := func(name string) *model.Linear { return model.NewLinear("l."+name, 1, 1, []float32{1}, nil) }
	l := &model.Layer{Q: m("q_proj"), K: m("k_proj"), V: m("v_proj"), O: m("o_proj"), Gate: m("gate_proj"), Up: m("up_proj"), Down: m("down_proj")}
	if keyNorm {
		l.QNorm, l.KNorm = &model.Norm{Name: "l.q_norm"}, &model.Norm{Name: "l.k_norm"}
	}
	return l
}

func TestPoints(t *testing.T) {
	rest := []point{
		{"l.o_proj:in", false},
		{"l.o_proj:out", false},
		{"l.gate_proj:in", false},
		{"l.gate_proj:out", false},
		{"l.up_proj:out", false},
		{"l.down_proj:in", false},
		{"l.down_proj:out", false},
	}
	for _, tc := range []struct {
		keyNorm bool
		key     string
		want    []point
	}{
		{false, "l.k_proj:out", []point{{"l.q_proj:in", false}, {"l.q_proj:out", false}, {"l.k_proj:out", true}, {"l.v_proj:out", true}}},
		{true, "l.k_norm:out", []point{{"l.q_proj:in", false}, {"l.q_proj:out", false}, {"l.k_proj:out", false}, {"l.v_proj:out", true}, {"l.k_norm:out", true}}},
	} {
		l := layerOf(tc.keyNorm)
		got := layerPoints(l)
		if want := slices.Concat(tc.want, rest); !slices.Equal(got, want) {
			t.Errorf("key norm %t: points\n%v, want\n%v", tc.keyNorm, got, want)
		}
		if KeyPoint(l) != tc.key || ValuePoint(l) != "l.v_proj:out" {
			t.Errorf("key norm %t: cache points %s and %s", tc.keyNorm, KeyPoint(l), ValuePoint(l))
		}
		for _, m := range l.Maps() { // whatever a map reads or makes has a point
			for _, name := range []string{InputPoint(l, m), OutputPoint(m)} {
				if !slices.ContainsFunc(got, func(p point) bool { return p.name == name }) {
					t.Errorf("key norm %t: %s is no point", tc.keyNorm, name)
				}
			}
		}
	}
}

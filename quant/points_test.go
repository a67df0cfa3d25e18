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
	l := &model.Layer{Rotary: &model.Rotary{}, Q: m("q_proj"), K: m("k_proj"), V: m("v_proj"), O: m("o_proj"), Gate: m("gate_proj"), Up: m("up_proj"), Down: m("down_proj")}
	if keyNorm {
		l.QNorm, l.KNorm = &model.Norm{Name: "l.q_norm"}, &model.Norm{Name: "l.k_norm"}
	}
	return l
}

// names lists the points of a layer that a scheme encodes.
func names(s Scheme, list []point) []string {
	var out []string
	for _, p := range list {
		if !p.format(s).None() {
			out = append(out, p.name)
		}
	}
	return out
}

func TestPoints(t *testing.T) {
	mixed := schemes.Get("w8a16-mixed")
	rest := []string{"l.o_proj:in", "l.o_proj:out", "l.gate_proj:in", "l.gate_proj:out", "l.up_proj:out", "l.down_proj:in", "l.down_proj:out"}
	for _, tc := range []struct {
		keyNorm bool
		key     string
		want    []string
	}{
		{false, "l.k_proj:out", []string{"l.q_proj:in", "l.q_proj:out", "l.k_proj:out", "l.v_proj:out"}},
		{true, "l.k_norm:out", []string{"l.q_proj:in", "l.q_proj:out", "l.k_proj:out", "l.v_proj:out", "l.k_norm:out"}},
	} {
		l := layerOf(tc.keyNorm)
		got := layerPoints(l, true)
		if want := slices.Concat(tc.want, rest); !slices.Equal(names(mixed, got), want) {
			t.Errorf("key norm %t: points\n%v, want\n%v", tc.keyNorm, names(mixed, got), want)
		}
		if KeyPoint(l) != tc.key || ValuePoint(l) != "l.v_proj:out" {
			t.Errorf("key norm %t: cache points %s and %s", tc.keyNorm, KeyPoint(l), ValuePoint(l))
		}
		for _, p := range got {
			if (p.kind == cached) != (p.name == tc.key || p.name == "l.v_proj:out") {
				t.Errorf("key norm %t: %s is of the kind %d", tc.keyNorm, p.name, p.kind)
			}
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

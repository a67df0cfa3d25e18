package quant

import (
	"math"
	"testing"
)

// TestFloatShare: what schemes leave in float are retention scores and, in some, the products of
// the attention, or of all maps.
func TestFloatShare(t *testing.T) {
	m := demoModel(t)
	d, n := m.Base.Dims, 24 // tokens, which all see each other: no memory is read
	scores := float64(len(m.Base.Layers) * n * d.Hidden * d.KVHeads)
	keys := n * (n + 1) / 2
	attention := float64(len(m.Base.Layers) * 2 * d.Heads * d.HeadDim * keys)
	maps := float64(n * m.Base.Head.In * m.Base.Head.Out)
	for _, l := range m.Base.Layers {
		for _, f := range l.Maps() {
			maps += float64(n * f.In * f.Out)
		}
	}
	all := attention + maps + scores
	names := map[string]int{"w8a16": 1, "w8a8": 1, "w8a16-mixed": 2, "w4-g32": 3}
	for scheme, want := range map[string]float64{"w8a16": scores / all, "w8a8": scores / all, "w8a16-mixed": (scores + attention) / all, "w4-g32": 1} {
		parts, err := FloatParts(m, schemes.Get(scheme), n)
		got := (&Report{Float: parts}).FloatShare()
		if err != nil || len(parts) != names[scheme] || parts[0].What != "retention scores" || math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: %v, %g of the products in float (%v), want %g", scheme, parts, got, err, want)
		}
	}
}

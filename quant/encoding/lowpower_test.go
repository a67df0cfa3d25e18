package encoding_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/quant/encoding"
)

// TestLowPower: scales that are multiples of a channel's come apart into what they were
// made of, along both axes, and others do not.
func TestLowPower(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const channels, blocks, block = 40, 7, 8
	for _, axis := range []int{0, 1} {
		rows, cols := blocks*block, channels
		if axis == 1 {
			rows, cols = channels, blocks*block
		}
		e := encoding.Encoding{Bits: 4, Axis: axis, Block: block, Scales: make([]float32, channels*blocks)}
		at := func(c, b int) int {
			if axis == 1 {
				return c*blocks + b
			}
			return b*channels + c
		}
		for c := range channels {
			step := float32(0.001 + 0.01*r.Float64())
			for b := range blocks {
				e.Scales[at(c, b)] = step * float32(1+r.IntN(encoding.MaxMultiple))
			}
		}
		steps, multiples, ok := e.LowPower(rows, cols)
		if !ok || len(steps) != channels {
			t.Fatalf("axis %d: %t, %d steps", axis, ok, len(steps))
		}
		for c := range channels {
			for b := range blocks {
				if m := multiples[at(c, b)]; m < 1 || m > encoding.MaxMultiple || float32(m)*steps[c] != e.Scales[at(c, b)] {
					t.Fatalf("axis %d: %d · %g is not %g", axis, m, steps[c], e.Scales[at(c, b)])
				}
			}
		}
		other := e
		other.Scales = slices.Clone(e.Scales)
		other.Scales[at(3, 2)] *= 1.01
		if _, _, ok := other.LowPower(rows, cols); ok {
			t.Errorf("axis %d: a scale that is no multiple passes", axis)
		}
	}
}

package modeltest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// listener collects what a check reports.
type listener struct {
	testing.TB
	said []string
}

func (l *listener) Helper() {}

func (l *listener) Errorf(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

// TestGradientsFindsWhatIsWrong checks a value computed in float32, Σ w·exp(x)·y, with
// gradients that are right and that are wrong in one way each.
func TestGradientsFindsWhatIsWrong(t *testing.T) {
	const n = 40
	x, y := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i] = float32(math.Sin(float64(i+1))), float32(math.Cos(float64(3*i)))
	}
	value := func() float64 {
		sum := float32(0)
		for i, v := range x {
			sum += float32(math.Exp(float64(v))) * y[i]
		}
		return float64(sum)
	}
	gradient := func() []float32 {
		g := make([]float32, n)
		for i, v := range x {
			g[i] = float32(math.Exp(float64(v))) * y[i]
		}
		return g
	}
	length := math.Sqrt(func() (sum float64) {
		for _, v := range gradient() {
			sum += float64(v * v)
		}
		return sum
	}())
	for name, c := range map[string]struct {
		change func(g []float32) []float32
		scale  float64 // of the value and the gradient
		offset float64 // of the value
		zero   map[string]string
		want   string // in what is reported; empty: nothing
	}{
		"right":              {},
		"small":              {scale: 1e-6},
		"one is zero":        {change: func(g []float32) []float32 { g[7] = 0; return g }, want: "1 of 40 components of the gradient are zero, the first is number 7"},
		"all are zero":       {change: func(g []float32) []float32 { clear(g); return g }, want: "40 of 40 components"},
		"one nearly missing": {change: func(g []float32) []float32 { g[7] *= 0.01; return g }, want: "derivative"},
		"other sign":         {change: func(g []float32) []float32 { g[20] *= -1; return g }, want: "derivative"},
		"scaled":             {change: func(g []float32) []float32 { scaleAll(g, 1.02); return g }, want: "derivative"},
		"too short":          {change: func(g []float32) []float32 { return g[1:] }, want: "a gradient of 39 values for 40"},
		"not a number":       {change: func(g []float32) []float32 { g[3] = float32(math.NaN()); return g }, want: "derivative NaN"},
		"should be zero":     {zero: map[string]string{"x": "nothing reads it"}, want: "not zero, though nothing reads it"},
		"drowned":            {offset: 1e6, want: "says nothing of a gradient"},
	} {
		t.Run(name, func(t *testing.T) {
			g := gradient()
			if c.change != nil {
				g = c.change(g)
			}
			scale := c.scale
			if scale == 0 {
				scale = 1
			}
			scaleAll(g, float32(scale))
			l := &listener{TB: t}
			check := Gradients{Zero: c.zero, Value: func() float64 { return scale * float64(float32(value()+c.offset)) }}
			check.Check(l, Tensor{"x", x, g})
			if c.want == "" && len(l.said) > 0 || c.want != "" && !slices.ContainsFunc(l.said, func(s string) bool { return strings.Contains(s, c.want) }) {
				t.Errorf("a gradient of length %.3g: reported %q, want %q", length, l.said, c.want)
			}
		})
	}
}

func scaleAll(g []float32, by float32) {
	for i := range g {
		g[i] *= by
	}
}

// TestGradientsKnowsRounding compares the measured rounding with the one that is there.
func TestGradientsKnowsRounding(t *testing.T) {
	x := make([]float32, 8)
	for _, unit := range []float64{1e-3, 1e-6} {
		g := Gradients{Value: func() float64 {
			sum := 0.0
			for i, v := range x {
				sum += math.Sin(float64(v)+float64(i)) + 1234.567*float64(i+1)*float64(v) // more than a unit from point to point
			}
			return math.Round(sum/unit) * unit
		}}
		want := unit / math.Sqrt(12) // of a uniform distribution
		if got := g.measureNoise([]Tensor{{Name: "x", X: x}}); got < want/3 || got > want*3 {
			t.Errorf("rounding to %g: noise %.2g, want about %.2g", unit, got, want)
		}
	}
}

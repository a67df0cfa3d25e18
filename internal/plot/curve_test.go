package plot

import (
	"math"
	"testing"
)

// TestCurves: what is no number is left out, many places become few by means, the axis begins at 0
// where that shows heights, and nothing makes no plot.
func TestCurves(t *testing.T) {
	long := Curve{Name: "long"}
	for i := range 10 * mostPoints {
		long.X, long.Y = append(long.X, float64(i+1)), append(long.Y, float64(i%2))
	}
	holes := Curve{Name: "holes", X: []float64{1, 2, 3}, Y: []float64{1.5, math.NaN(), math.Inf(1)}}
	p := Curves("t", "", "step", "nats", []Curve{long, holes})
	if n := len(p.Lines[0].Points); n != mostPoints {
		t.Errorf("%d points, want %d", n, mostPoints)
	}
	if d := p.Lines[0].Points[0]; d.Label != "long, step 6: 0.5 nats" {
		t.Errorf("of the first ten: %q", d.Label)
	}
	if n := len(p.Lines[1].Points); n != 1 || p.YTicks[0].Label != "0" || !p.Lines[1].Small {
		t.Errorf("%d points beside what is no number, first tick %q", n, p.YTicks[0].Label)
	}
	for _, l := range p.Lines {
		for _, d := range l.Points {
			if d.X < Left || d.X > Width || d.Y < Top || d.Y > Height-Bottom {
				t.Fatalf("%s: a point at %g, %g", l.Name, d.X, d.Y)
			}
		}
	}
	one := Curves("t", "", "step", "", []Curve{{Name: "one", X: []float64{7}, Y: []float64{0}}})
	if len(one.Lines[0].Points) != 1 || len(one.XTicks) != 1 || len(one.YTicks) == 0 {
		t.Errorf("of one point: %+v", one)
	}
	if Curves("t", "", "step", "", []Curve{{Name: "none"}, {Name: "nan", X: []float64{1}, Y: []float64{math.NaN()}}}) != nil {
		t.Error("a plot of nothing")
	}
}

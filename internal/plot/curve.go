package plot

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// Curve is a line of a plot whose places on the x axis are numbers: steps, for example.
type Curve struct {
	Name string
	X, Y []float64
}

// mostPoints is how many places of a curve are drawn: of a longer one each is the mean of some.
const mostPoints = 240

// Curves draws curves over x, which is called what; unit is that of y. It is nil if there is
// nothing to draw. What is no finite number is left out.
func Curves(title, text, what, unit string, list []Curve) *Plot {
	least, greatest := math.Inf(1), math.Inf(-1)
	first, last := math.Inf(1), math.Inf(-1)
	var thinned []Curve
	longest := 0
	for _, c := range list {
		c = c.thin()
		for i, v := range c.Y {
			least, greatest = min(least, v), max(greatest, v)
			first, last = min(first, c.X[i]), max(last, c.X[i])
		}
		thinned, longest = append(thinned, c), max(longest, len(c.Y))
	}
	if math.IsInf(least, 1) {
		return nil
	}
	if least > 0 && least < greatest/2 { // so that heights can be compared
		least = 0
	}
	p := &Plot{Title: title, Text: text, Unit: unit}
	y := p.YAxis(least, max(greatest, least+1e-9))
	width := math.Max(last-first, 1)
	x := func(v float64) float64 { return Tenth(Left + 8 + (Width-Left-24)*(v-first)/width) }
	step := math.Max(1, niceStep(last-first))
	for v := step * math.Ceil(first/step); v <= last; v += step {
		p.XTicks = append(p.XTicks, Tick{x(v), humanize.Comma(int64(v))})
	}
	for i, c := range thinned {
		l := &Line{Name: c.Name, Color: Color(i), Small: longest > mostPoints/4}
		for j, v := range c.Y {
			l.Add(Dot{X: x(c.X[j]), Y: y(v), Label: fmt.Sprintf("%s, %s %s: %.4g %s", c.Name, what, humanize.Comma(int64(math.Round(c.X[j]))), v, unit)})
		}
		p.Lines = append(p.Lines, l)
	}
	return p
}

// thin is the curve without what is no finite number, in no more than mostPoints places.
func (c Curve) thin() Curve {
	out := Curve{Name: c.Name}
	for i, v := range c.Y {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out.X, out.Y = append(out.X, c.X[i]), append(out.Y, v)
		}
	}
	n := len(out.Y)
	if n <= mostPoints {
		return out
	}
	means := Curve{Name: c.Name}
	for i := range mostPoints {
		from, to := i*n/mostPoints, (i+1)*n/mostPoints
		means.X, means.Y = append(means.X, mean(out.X[from:to])), append(means.Y, mean(out.Y[from:to]))
	}
	return means
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

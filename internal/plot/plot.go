// Package plot draws the plots of HTML reports as SVG: points with tooltips, joined by
// lines, and figures with their intervals. It computes places; a template writes them.
package plot

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strconv"
)

//go:embed plot.html
var templates string

// Style is what a page's style sheet says of plots.
const Style template.CSS = `.plot { display: block; width: 100%; max-width: 50em; height: auto; }
@media (max-width: 40em) { .plot text, .heat text { font-size: 16px; } }
svg text { font-size: 11px; fill: var(--muted); }
svg .grid { stroke: var(--line); }
svg .bar { fill: var(--bar); }
svg .mark { stroke: #c33; }
svg .chosen { fill: none; stroke: #c33; stroke-width: 2; }
.heats { display: flex; flex-wrap: wrap; gap: 1.5em; }
.heats figure { margin: 0; max-width: 100%; }
.heat { display: block; max-width: 100%; height: auto; }
.heat rect { shape-rendering: crispEdges; }
.heats figcaption { font-weight: 600; margin-bottom: .3em; }
.legend span { margin-right: 1.2em; display: inline-block; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }`

// Define adds the templates "plot", of a [*Plot], "heats", of some [*Heat], and "whisker", of a
// [Whisker], to those of a page.
func Define(page *template.Template) *template.Template {
	template.Must(page.New("plots").Parse(templates))
	return page
}

// The size of a plot and of the space around its axes, in pixels.
const (
	Width  = 640
	Height = 300
	Left   = 60
	Top    = 10
	Bottom = 24
)

// Plot is a plot with places in pixels.
type Plot struct {
	Title, Text, Unit string
	Lines             []*Line
	XTicks, YTicks    []Tick
	Chosen            *Dot // has a ring; nil for none
}

// Line joins points.
type Line struct {
	Name, Color string
	Small       bool // its points, which are many
	Points      []Dot
	Path        string
}

// Dot is a point, with a bar from Low to High if these differ.
type Dot struct {
	X, Y, Low, High float64
	Label           string // of its tooltip
}

// Tick is a place on an axis.
type Tick struct {
	At    float64
	Label string
}

// Add appends a point.
func (l *Line) Add(d Dot) {
	l.Points = append(l.Points, d)
	l.Path += fmt.Sprintf("%g,%g ", d.X, d.Y)
}

// colors tell lines apart (Tableau).
var colors = []string{"#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac", "#86bcb6", "#d37295"}

// Color is that of the i-th line.
func Color(i int) string { return colors[i%len(colors)] }

// YAxis makes the ticks of an axis from about least to greatest, and returns the places of
// values.
func (p *Plot) YAxis(least, greatest float64) func(v float64) float64 {
	step := niceStep(greatest - least)
	lo, hi := step*math.Floor(least/step), step*math.Ceil(greatest/step+0.01)
	y := func(v float64) float64 {
		return Tenth(Top + (Height-Top-Bottom)*(hi-v)/(hi-lo))
	}
	for i := range int(math.Round((hi-lo)/step)) + 1 {
		v := lo + float64(i)*step
		p.YTicks = append(p.YTicks, Tick{y(v), strconv.FormatFloat(math.Round(v*1e9)/1e9, 'f', -1, 64)})
	}
	return y
}

// niceStep is 1, 2 or 5 times a power of ten, four to ten of which make the width.
func niceStep(width float64) float64 {
	if !(width > 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(width)))
	for _, f := range []float64{0.1, 0.2, 0.5} {
		if width/(f*power) <= 10 {
			return f * power
		}
	}
	return power
}

// Tenth rounds a coordinate to a tenth of a pixel.
func Tenth(x float64) float64 { return math.Round(10*x) / 10 }

// Whisker is a figure with its interval on a scale that those of one kind share.
type Whisker struct{ Zero, At, Lo, Width float64 }

// whiskerWidth is that of an interval's drawing, in pixels.
const whiskerWidth = 160

// WhiskerOf draws a figure where from least to most is the width.
func WhiskerOf(value, lo, hi, least, most float64) Whisker {
	if most <= least {
		most = least + 1
	}
	at := func(v float64) float64 { return Tenth(4 + (whiskerWidth-8)*(v-least)/(most-least)) }
	from, to := at(min(lo, value)), at(max(hi, value))
	return Whisker{at(0), at(value), from, Tenth(to - from)}
}

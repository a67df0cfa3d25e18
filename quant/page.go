package quant

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strings"
)

//go:embed report.html
var pageText string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"percent": func(x float64) string { return fmt.Sprintf("%.4g %%", 100*x) },
	"number":  func(x any) string { return fmt.Sprintf("%.4g", x) },
	"decibel": func(x float64) string { return fmt.Sprintf("%.1f", x) },
}).Parse(pageText))

// page renders the report as one HTML file that needs no network.
func (r *Report) page() ([]byte, error) {
	weights, activations := newPlot("Weights"), newPlot("Activations")
	for _, w := range r.Weights {
		weights.add(w.Name, w.SQNR)
	}
	for _, a := range r.Activations {
		activations.add(a.Name, a.SQNR)
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct {
		*Report
		Rows  []row
		Plots []*plot
		Bars  func(a ActivationReport) bars
	}{r, r.rows(), []*plot{weights.layout(), activations.layout()}, r.histograms()})
	return b.Bytes(), err
}

// The size of a plot and of the space around its axes, in pixels.
const (
	plotWidth, plotHeight         = 640, 300
	plotLeft, plotTop, plotBottom = 40, 10, 24
)

// plot shows a figure of each layer's tensors: a line for every kind of tensor.
type plot struct {
	Title  string
	Lines  []*line
	XTicks []tick
	YTicks []tick
}

// line is a kind of tensor, "self_attn.q_proj:in", through the layers.
type line struct {
	Name, Color string
	values      []float64
	Points      []dot // after layout
	Path        string
}

type dot struct {
	X, Y  float64
	Label string
}

type tick struct {
	At    float64
	Label string
}

// colors tell lines apart (Tableau).
var colors = []string{"#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac", "#86bcb6", "#d37295"}

func newPlot(title string) *plot { return &plot{Title: title} }

// add puts a layer's tensor into its line; tensors outside the layers are left
// out. Layers come in order.
func (p *plot) add(name string, value float64) {
	rest, ok := strings.CutPrefix(name, "model.layers.")
	if !ok {
		return
	}
	_, kind, _ := strings.Cut(rest, ".")
	for _, l := range p.Lines {
		if l.Name == kind {
			l.values = append(l.values, value)
			return
		}
	}
	p.Lines = append(p.Lines, &line{Name: kind, Color: colors[len(p.Lines)%len(colors)], values: []float64{value}})
}

// layout computes the places of ticks and dots.
func (p *plot) layout() *plot {
	least, greatest, layers := math.Inf(1), math.Inf(-1), 1
	for _, l := range p.Lines {
		for _, v := range l.values {
			least, greatest = min(least, v), max(greatest, v)
		}
		layers = max(layers, len(l.values))
	}
	const step = 10 // dB
	lo, hi := step*math.Floor(least/step), step*math.Ceil(greatest/step+0.01)
	y := func(v float64) float64 {
		return tenth(plotTop + (plotHeight-plotTop-plotBottom)*(hi-v)/(hi-lo))
	}
	x := func(layer int) float64 {
		return tenth(plotLeft + (plotWidth-plotLeft)*(float64(layer)+0.5)/float64(layers))
	}
	for v := lo; v <= hi; v += step {
		p.YTicks = append(p.YTicks, tick{y(v), fmt.Sprint(v)})
	}
	for i := 0; i < layers; i += 1 + layers/20 {
		p.XTicks = append(p.XTicks, tick{x(i), fmt.Sprint(i)})
	}
	for _, l := range p.Lines {
		for i, v := range l.values {
			l.Points = append(l.Points, dot{x(i), y(v), fmt.Sprintf("layer %d, %s: %.1f dB", i, l.Name, v)})
			l.Path += fmt.Sprintf("%g,%g ", x(i), y(v))
		}
	}
	return p
}

// tenth rounds a coordinate to a tenth of a pixel.
func tenth(x float64) float64 { return math.Round(10*x) / 10 }

// barWidth and barHeight are those of an octave in a histogram, in pixels.
const barWidth, barHeight = 4, 24

// bars is the histogram of a point's magnitudes by powers of two, on a scale
// that all points share; counts are logarithmic.
type bars struct {
	Width  int
	Bars   []bar
	Lo, Hi float64 // where codes begin (half a step) and end
}

type bar struct {
	X, Y, Height float64
	Label        string
}

// histograms returns the function that draws a point's histogram.
func (r *Report) histograms() func(ActivationReport) bars {
	first, last, most := math.MaxInt, math.MinInt, uint64(1)
	for _, a := range r.Activations {
		for _, o := range a.Octaves {
			first, last, most = min(first, o.Exponent), max(last, o.Exponent), max(most, o.Count)
		}
	}
	at := func(exponent float64) float64 { return tenth(barWidth * (exponent - float64(first))) }
	return func(a ActivationReport) bars {
		lo, hi := a.Encoding.Reach(0)
		b := bars{
			Width: barWidth * (last - first + 2),
			Lo:    at(math.Log2(float64(a.Encoding.Scales[0]) / 2)), Hi: at(math.Log2(max(-lo, hi))),
		}
		for _, o := range a.Octaves {
			h := tenth(barHeight * math.Log1p(float64(o.Count)) / math.Log1p(float64(most)))
			b.Bars = append(b.Bars, bar{at(float64(o.Exponent)), tenth(barHeight - h), h, fmt.Sprintf("2^%d: %d", o.Exponent, o.Count)})
		}
		return b
	}
}

package quant

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"strings"

	"eisft/eval"
	"eisft/internal/bytesize"
	"eisft/internal/htmlpage"
	"eisft/internal/plot"
)

//go:embed report.html
var pageText string

var pageTemplate = template.Must(htmlpage.Define(plot.Define(template.New("report"))).Funcs(template.FuncMap{
	"plotStyle":   func() template.CSS { return plot.Style },
	"percent":     func(x float64) string { return fmt.Sprintf("%.4g %%", 100*x) },
	"number":      func(x any) string { return fmt.Sprintf("%.4g", x) },
	"decibel":     func(x float64) string { return fmt.Sprintf("%.1f", x) },
	"thousandths": func(x float64) string { return fmt.Sprintf("%+.3f", 1000*x) },
	"kilobytes":   func(n int) string { return fmt.Sprintf("%.1f", float64(n)/1e3) },
	"signed":      signedPercent,
	"interval":    percentInterval,
	"join":        func(list []string) string { return strings.Join(list, ", ") },
	"line":        Comparison.row,
}).Parse(pageText))

// page renders the report as one HTML file that needs no network.
func (r *Report) page() ([]byte, error) {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct {
		*Report
		Rows     []row
		Headline []htmlpage.Figure
		Plots    []*plot.Plot
		Bars     func(a ActivationReport) bars
		Whisker  func(c Comparison) plot.Whisker
		Gained   func(s AblationStep) plot.Whisker
		Widths   []CacheWidth
		Settled  string
	}{r, r.rows(), r.headline(), r.plots(), r.histograms(), r.whiskers(), r.gains(), r.cacheWidths(), r.settled()})
	return b.Bytes(), err
}

// headline are the figures that are looked for first.
func (r *Report) headline() []htmlpage.Figure {
	var list []htmlpage.Figure
	add := func(key, what string) {
		if r.Evaluation == nil {
			return
		}
		if c := r.Evaluation.Compared(key); c != nil {
			row := c.row()
			list = append(list, htmlpage.Figure{Value: row.Change, What: fmt.Sprintf("%s: %s, was %s", what, row.After, row.Before)})
		}
	}
	add("perplexity/text", "perplexity of the text")
	add(string(eval.MetricExactMatch)+"/"+string(eval.Far), "far questions answered")
	weights, bits := 0, 0
	for _, w := range r.Weights {
		weights, bits = weights+w.Shape[0]*w.Shape[1], bits+8*w.Bytes
	}
	return append(list,
		htmlpage.Figure{Value: bytesize.Megabytes(r.Size.After), What: "the model, was " + bytesize.Megabytes(r.Size.Before)},
		htmlpage.Figure{Value: fmt.Sprintf("%.2f", float64(bits)/float64(max(1, weights))), What: "bits a weight, scales included"},
		htmlpage.Figure{Value: fmt.Sprintf("%.1f %%", 100*r.FloatShare()), What: "of multiplications left in float"})
}

// settled is the recipe as it was carried out, for a file.
func (r *Report) settled() string {
	text, err := json.MarshalIndent(r.Recipe, "", " ") // JSON is YAML
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// cacheWidths lists the widths that were chosen, by layer.
func (r *Report) cacheWidths() []CacheWidth {
	if r.Cache == nil {
		return nil
	}
	return r.Cache.Widths
}

// plots are those that there is something to show in.
func (r *Report) plots() []*plot.Plot {
	weights := newPlot("Weights: signal to quantization noise", "In dB, by layer. 6 dB are one bit.", "dB")
	activations := newPlot("Activations: signal to quantization noise", "In dB, by layer.", "dB")
	for _, w := range r.Weights {
		weights.add(w.Name, w.SQNR)
	}
	for _, a := range r.Activations {
		activations.add(a.Name, a.SQNR)
	}
	list := []*plot.Plot{weights.layout()}
	if len(r.Activations) > 0 {
		list = append(list, activations.layout())
	}
	if r.Sensitivity != nil {
		list = append(r.Sensitivity.plots(), list...)
	}
	if m := r.Mixed; m != nil && len(m.Frontier) > 1 {
		list = append([]*plot.Plot{m.plot()}, list...)
	}
	return list
}

// plots draw what each map costs the text and, if there are some in it, the answers.
func (s *SensitivityReport) plots() []*plot.Plot {
	list := []*plot.Plot{s.plot("Sensitivity: what each map costs",
		fmt.Sprintf("Increase of the loss with this map alone rounded, in thousandths of a nat a token, on %d tokens of the calibration data; %s costs %.3g.", s.Tokens, HeadName, 1000*s.of(HeadName)),
		func(c Cost) float64 { return c.Increase })}
	if s.Answers > 0 {
		list = append(list, s.plot("Sensitivity: what each map costs the answers",
			fmt.Sprintf("The same of the right answers alone, %d of these tokens: a fact may be lost where the text's loss does not show it. Of few tokens only what stands out counts.", s.Answers),
			func(c Cost) float64 { return c.Answers }))
	}
	return list
}

// plot draws a figure of each map and layer.
func (s *SensitivityReport) plot(title, text string, figure func(Cost) float64) *plot.Plot {
	p := newPlot(title, text, "‰ nats")
	for _, m := range s.Maps {
		p.add(m.Name, 1000*figure(m.Cost))
	}
	for _, l := range s.Layers {
		p.add(fmt.Sprintf("model.layers.%d.all maps of the layer", l.Layer), 1000*figure(l.Cost))
	}
	return p.layout()
}

// of is what a map costs.
func (s *SensitivityReport) of(name string) float64 {
	for _, m := range s.Maps {
		if m.Name == name {
			return m.Increase
		}
	}
	return 0
}

// plot draws the frontier of size and loss.
func (m *MixedReport) plot() *plot.Plot {
	of := ""
	if m.By == LossOfAnswers {
		of = " of the right answers"
	}
	p := &plot.Plot{Title: "Frontier: size and loss" + of, Text: "Increase of the loss" + of + " over the float model's, in thousandths of a nat a token, with more and more maps in 8 bits, those that gain most for their bytes first. The ring is what the recipe chose.", Unit: "‰ nats"}
	first, last := m.Frontier[0], m.Frontier[len(m.Frontier)-1]
	least, greatest := math.Inf(1), math.Inf(-1)
	for _, f := range m.Frontier {
		least, greatest = min(least, 1000*f.of(m.By)), max(greatest, 1000*f.of(m.By))
	}
	y := p.YAxis(min(0, least), greatest)
	width := max(1, float64(last.Bytes-first.Bytes))
	x := func(bytes float64) float64 {
		return plot.Tenth(plot.Left + 20 + (plot.Width-plot.Left-40)*(bytes-float64(first.Bytes))/width)
	}
	l := &plot.Line{Name: "maps promoted", Color: plot.Color(0)}
	chosen := 0
	for i, f := range m.Frontier {
		l.Add(plot.Dot{X: x(float64(f.Bytes)), Y: y(1000 * f.of(m.By)), Label: fmt.Sprintf("%d maps in 8 bits: %s, %+.2f ‰ nats", f.Promoted, bytesize.Megabytes(f.Bytes), 1000*f.of(m.By))})
		if f.Chosen {
			chosen = i
		}
	}
	for i := range 5 {
		bytes := float64(first.Bytes) + width*float64(i)/4
		p.XTicks = append(p.XTicks, plot.Tick{At: x(bytes), Label: bytesize.Megabytes(int(bytes))})
	}
	p.Lines, p.Chosen = []*plot.Line{l}, &l.Points[chosen]
	return p
}

// whiskerOf draws an estimate where from least to most is the width.
func whiskerOf(e eval.Estimate, least, most float64) plot.Whisker {
	return plot.WhiskerOf(e.Value, e.Lo, e.Hi, least, most)
}

// whiskers returns what draws the difference of a comparison, each unit on its own scale.
func (r *Report) whiskers() func(c Comparison) plot.Whisker {
	most := map[string]float64{}
	if r.Evaluation != nil {
		for _, c := range r.Evaluation.Comparisons {
			most[c.Unit] = max(most[c.Unit], math.Abs(c.Difference.Value), math.Abs(c.Difference.Lo), math.Abs(c.Difference.Hi))
		}
	}
	return func(c Comparison) plot.Whisker { return whiskerOf(c.Difference, -most[c.Unit], most[c.Unit]) }
}

// gains returns what draws the increase of a step of the ablation.
func (r *Report) gains() func(s AblationStep) plot.Whisker {
	least, most := 0.0, 0.0
	if r.Ablation != nil {
		for _, s := range r.Ablation.Steps {
			least, most = min(least, s.Increase.Value, s.Increase.Lo), max(most, s.Increase.Value, s.Increase.Hi)
		}
	}
	return func(s AblationStep) plot.Whisker { return whiskerOf(s.Increase, least, most) }
}

// layers shows a figure of each layer's tensors: a line for every kind of tensor,
// "self_attn.q_proj:in", through the layers.
type layers struct {
	plot.Plot
	values [][]float64 // of each of Lines
}

func newPlot(title, text, unit string) *layers {
	return &layers{Plot: plot.Plot{Title: title, Text: text, Unit: unit}}
}

// add puts a layer's tensor into its line; tensors outside the layers are left
// out. Layers come in order.
func (p *layers) add(name string, value float64) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(name, "model."), "layers.")
	if !ok {
		return
	}
	_, kind, _ := strings.Cut(rest, ".")
	for i, l := range p.Lines {
		if l.Name == kind {
			p.values[i] = append(p.values[i], value)
			return
		}
	}
	p.Lines = append(p.Lines, &plot.Line{Name: kind, Color: plot.Color(len(p.Lines))})
	p.values = append(p.values, []float64{value})
}

// layout computes the places of ticks and dots.
func (p *layers) layout() *plot.Plot {
	least, greatest, layers := math.Inf(1), math.Inf(-1), 1
	for _, values := range p.values {
		for _, v := range values {
			least, greatest = min(least, v), max(greatest, v)
		}
		layers = max(layers, len(values))
	}
	if len(p.Lines) == 0 {
		return &p.Plot
	}
	y := p.YAxis(least, greatest)
	x := func(layer int) float64 {
		return plot.Tenth(plot.Left + (plot.Width-plot.Left)*(float64(layer)+0.5)/float64(layers))
	}
	for i := 0; i < layers; i += 1 + layers/20 {
		p.XTicks = append(p.XTicks, plot.Tick{At: x(i), Label: fmt.Sprint(i)})
	}
	for i, l := range p.Lines {
		for layer, v := range p.values[i] {
			l.Add(plot.Dot{X: x(layer), Y: y(v), Label: fmt.Sprintf("layer %d, %s: %.3g %s", layer, l.Name, v, p.Unit)})
		}
	}
	return &p.Plot
}

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
	at := func(exponent float64) float64 { return plot.Tenth(barWidth * (exponent - float64(first))) }
	return func(a ActivationReport) bars {
		lo, hi := a.Encoding.Reach(0)
		b := bars{
			Width: barWidth * (last - first + 2),
			Lo:    at(math.Log2(float64(a.Encoding.Scales[0]) / 2)), Hi: at(math.Log2(max(-lo, hi))),
		}
		for _, o := range a.Octaves {
			h := plot.Tenth(barHeight * math.Log1p(float64(o.Count)) / math.Log1p(float64(most)))
			b.Bars = append(b.Bars, bar{at(float64(o.Exponent)), plot.Tenth(barHeight - h), h, fmt.Sprintf("2^%d: %d", o.Exponent, o.Count)})
		}
		return b
	}
}

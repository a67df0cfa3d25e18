package inspect

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"eisft/internal/plot"
	"eisft/model"
	"eisft/train/runs"
)

// heatPart is a section of maps.
type heatPart struct {
	Title, Text string
	Heats       []*plot.Heat
}

// The size of maps over time.
const (
	heatColumns     = 56  // at most, each of some steps
	heatColumnWidth = 10  // pixels
	heatHeight      = 420 // pixels, about, of all rows
	heatMostRows    = 160 // of heads; of more, a layer is a row
	heatLeft        = 40
)

// heats draws what layers and heads keep and hear of the memory over time.
func (p *runPage) heats() {
	parts := []struct {
		title, text string
		of          func(l model.LayerStats) []float32
	}{
		{"Kept, by layer and KV head over time", "The share of the tokens that left the window which is kept, mean σ(ρ) (distillation: of all tokens). Steps that choose hard say nothing of it.", keptOf},
		{"Gate, by layer and head over time", "The share of the attention's mass that the memory gets. The darkest blue is the largest value, which is named.", gateOf},
	}
	for _, part := range parts {
		h := heatPart{Title: part.title, Text: part.text}
		for _, r := range p.Runs {
			if m := heatOf(p.of(r, ""), r.steps, part.of); m != nil {
				h.Heats = append(h.Heats, m)
			}
		}
		if h.Heats != nil {
			p.Heats = append(p.Heats, h)
		}
	}
}

// keptOf is what each KV head of a layer keeps, or, of a run of an earlier version, the layer.
func keptOf(l model.LayerStats) []float32 {
	if l.KeptHeads != nil || l.Kept == 0 {
		return l.KeptHeads
	}
	return []float32{float32(l.Kept)}
}

// gateOf is each head's share for the memory, or, of a run of an earlier version, the layer's.
func gateOf(l model.LayerStats) []float32 {
	if l.GateHeads != nil || l.Gate.N == 0 {
		return l.GateHeads
	}
	return []float32{float32(l.Gate.Mean)}
}

// heatOf is the map of a run; nil if no step has anything for it.
func heatOf(title string, steps []runs.Metrics, of func(model.LayerStats) []float32) *plot.Heat {
	var at []int // steps that have it
	layers, heads := 0, 0
	for i, m := range steps {
		has := false
		for _, l := range m.Layers {
			if values := of(l); len(values) > 0 {
				has, heads = true, max(heads, len(values))
			}
		}
		if has {
			at, layers = append(at, i), max(layers, len(m.Layers))
		}
	}
	if len(at) == 0 {
		return nil
	}
	if layers*heads > heatMostRows {
		inner := of
		of, heads = func(l model.LayerStats) []float32 { return meanOf(inner(l)) }, 1
	}
	columns := min(len(at), heatColumns)
	values, greatest := make([]float64, columns*layers*heads), 0.0
	counts := make([]int, len(values))
	for k, i := range at {
		column := k * columns / len(at)
		for layer, l := range steps[i].Layers {
			for head, v := range of(l) {
				cell := (column*layers+layer)*heads + head
				values[cell], counts[cell] = values[cell]+float64(v), counts[cell]+1
			}
		}
	}
	for i, n := range counts {
		if n > 0 {
			values[i] /= float64(n)
			greatest = max(greatest, values[i])
		}
	}
	if title != "" {
		title += ", "
	}
	height := max(3, min(18, heatHeight/(layers*heads)))
	h := &plot.Heat{Title: fmt.Sprintf("%sat most %.3g", title, greatest), Grid: plot.Grid{NumRows: layers * heads, NumColumns: columns, CellWidth: heatColumnWidth, CellHeight: height, Left: heatLeft}}
	every := max(1, 12/(height*heads)+1)
	if height*heads >= 12 {
		every = 1
	}
	for layer := 0; layer < layers; layer += every {
		h.Row(layer*heads, heads, fmt.Sprint(layer))
	}
	for column := 0; column < columns; column += 8 {
		h.Column(column, humanize.Comma(int64(at[column*len(at)/columns]+1)))
	}
	for cell, v := range values {
		if counts[cell] == 0 {
			continue
		}
		row := cell % (layers * heads)
		column := cell / (layers * heads)
		where := fmt.Sprintf("layer %d", row/heads)
		if heads > 1 {
			where += fmt.Sprintf(", head %d", row%heads)
		}
		h.Add(column, row, v/max(greatest, 1e-12), "", fmt.Sprintf("%s, step %d: %.3g", where, at[column*len(at)/columns]+1, v))
	}
	return h
}

// meanOf is the mean of some values, as a list of one.
func meanOf(values []float32) []float32 {
	if len(values) == 0 {
		return nil
	}
	sum := float32(0)
	for _, v := range values {
		sum += v
	}
	return []float32{sum / float32(len(values))}
}

package quant

import (
	"bytes"
	"testing"

	"eisft/quant/encoding"
)

// TestPageOfWeights: where weights alone are rounded, the page says so, and has no plot of activations.
func TestPageOfWeights(t *testing.T) {
	const plot, none = "Activations: signal to quantization noise", "<p>All of them stay in float.</p>"
	r := &Report{Weights: []WeightReport{{Name: "model.layers.0.mlp.up_proj", Shape: [2]int{2, 32}}}}
	for _, activations := range [][]ActivationReport{nil, {{Point: Point{Name: "model.layers.0.mlp.input", Encoding: encoding.Encoding{Bits: 16, Scales: []float32{1}}}}}} {
		r.Activations = activations
		page, err := r.page()
		if err != nil {
			t.Fatal(err)
		}
		if some := len(activations) > 0; bytes.Contains(page, []byte(plot)) != some || bytes.Contains(page, []byte(none)) == some {
			t.Errorf("%d activations: the page has a plot of them %v, and says that all stay in float %v", len(activations), bytes.Contains(page, []byte(plot)), bytes.Contains(page, []byte(none)))
		}
	}
}

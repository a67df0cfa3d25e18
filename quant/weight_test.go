package quant

import (
	"math"
	"slices"
	"testing"

	"eisft/model"
)

func TestQuantizeWeight(t *testing.T) {
	l := model.NewLinear("w", 4, 3, []float32{
		1.27, -0.635, 0.005, 0.0151, // scale 0.01
		0, 0, 0, 0,
		-254, 127, 3, 1, // scale 2: 63.5, 1.5 and 0.5 go to the even code
	}, nil)
	w, err := quantizeWeight("w", l, 8)
	if err != nil {
		t.Fatal(err)
	}
	if want := []float32{1.27 / 127, 1, 2}; !slices.Equal(w.Scales, want) {
		t.Errorf("scales %v, want %v", w.Scales, want)
	}
	if want := []int8{127, -64, 0, 2, 0, 0, 0, 0, -127, 64, 2, 0}; !slices.Equal(w.Codes, want) {
		t.Errorf("codes %v, want %v", w.Codes, want)
	}
	if clipped, _ := w.fidelity(l.Weight()); clipped != 0 {
		t.Errorf("clip rate %g, want 0", clipped)
	}
	if want := []float32{-254, 128, 4, 0}; !slices.Equal(w.Dequantize()[8:], want) {
		t.Errorf("dequantized %v, want %v", w.Dequantize()[8:], want)
	}
}

func TestQuantizeDamagedWeight(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := quantizeWeight("w", model.NewLinear("w", 2, 2, []float32{1, 2, 3, float32(bad)}, nil), 8)
		if want := "w.weight: row 1 holds NaN or infinity; the checkpoint is damaged"; err == nil || err.Error() != want {
			t.Errorf("%g: error %v, want %s", bad, err, want)
		}
	}
}

// TestSQNR compares with what is known of a uniform signal: 6.02 dB a bit.
func TestSQNR(t *testing.T) {
	const n = 1 << 16
	x := make([]float32, n)
	for i := range x {
		x[i] = (float32(i)+0.5)/n*2 - 1
	}
	w, err := quantizeWeight("w", model.NewLinear("w", n, 1, x, nil), 8)
	if err != nil {
		t.Fatal(err)
	}
	_, got := w.fidelity(x)
	if want := 20 * math.Log10(2*127); math.Abs(got-want) > 0.1 {
		t.Errorf("weights: %.2f dB, want %.2f", got, want)
	}
	for _, bits := range []int{8, 16} {
		o := &Observer{}
		o.Observe(x)
		_, levels := limits(bits)
		got, want := sqnr(o.noise(symmetric(bits, 1))), 20*math.Log10(2*float64(levels))
		if math.Abs(got-want) > 0.1 {
			t.Errorf("histogram at %d bits: %.2f dB, want %.2f", bits, got, want)
		}
	}
	if got := sqnr(1, 0); got != maxSQNR {
		t.Errorf("without noise: %g dB, want %d", got, maxSQNR)
	}
	if got := sqnr(0, 0); got != maxSQNR {
		t.Errorf("without signal: %g dB, want %d", got, maxSQNR)
	}
}

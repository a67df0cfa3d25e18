package hf

import (
	"math"
	"testing"

	"eisft/internal/testfiles"
)

// The expected values were computed from the formulas of transformers'
// modeling_rope_utils.py in double precision.
func TestInvFreq(t *testing.T) {
	for name, c := range map[string]struct {
		rope    Rope
		headDim int
		length  int
		want    []float64
		scale   float64
	}{
		"zero type is default": {Rope{Theta: 10000}, 8, 0, []float64{1, 0.1, 0.01, 0.001}, 1},
		"partial":              {Rope{Type: "default", Theta: 10000, PartialRotaryFactor: 0.5}, 16, 0, []float64{1, 0.1, 0.01, 0.001}, 1},
		"linear":               {Rope{Type: "linear", Theta: 10000, Factor: 4}, 8, 0, []float64{0.25, 0.025, 0.0025, 0.00025}, 1},
		"dynamic at its original length": {
			Rope{Type: "dynamic", Theta: 10000, Factor: 2, OriginalMaxPositionEmbeddings: 2048},
			8, 2048,
			[]float64{1, 0.1, 0.01, 0.001},
			1,
		},
		"dynamic at twice that": {
			Rope{Type: "dynamic", Theta: 10000, Factor: 2, OriginalMaxPositionEmbeddings: 2048},
			8, 4096,
			[]float64{1, 0.0693361274, 0.00480749857, 0.000333333333},
			1,
		},
		"yarn": {
			Rope{Type: "yarn", Theta: 10000, Factor: 4, OriginalMaxPositionEmbeddings: 256},
			16, 0,
			[]float64{1, 0.25693506, 0.0625, 0.0138349648, 0.0025, 0.000790569415, 0.00025, 7.90569415e-05},
			1.138629436,
		},
		"yarn, not truncated": {
			Rope{Type: "yarn", Theta: 10000, Factor: 4, OriginalMaxPositionEmbeddings: 256, NoTruncate: true, AttentionFactor: 1.5},
			16, 0,
			[]float64{1, 0.253972314, 0.0553986366, 0.00963994285, 0.0025, 0.000790569415, 0.00025, 7.90569415e-05},
			1.5,
		},
		"yarn, mscale": {
			Rope{Type: "yarn", Theta: 10000, Factor: 40, OriginalMaxPositionEmbeddings: 4096, MScale: 1, MScaleAllDim: 0.707},
			4, 0,
			[]float64{1, 0.005125},
			1.085726399,
		},
		"longrope": {
			Rope{Type: "longrope", Theta: 10000, Factor: 32, OriginalMaxPositionEmbeddings: 4096, ShortFactor: []float64{1, 1.5, 2}, LongFactor: []float64{2, 4, 8}},
			6, 4096,
			[]float64{1, 0.0309439256, 0.00107721735},
			1.190238071,
		},
		"longrope, long": {
			Rope{Type: "longrope", Theta: 10000, Factor: 32, OriginalMaxPositionEmbeddings: 4096, ShortFactor: []float64{1, 1.5, 2}, LongFactor: []float64{2, 4, 8}},
			6, 4097,
			[]float64{0.5, 0.0116039721, 0.000269304336},
			1.190238071,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, scale, err := c.rope.InvFreqAt(c.headDim, c.length)
			if err != nil {
				t.Fatal(err)
			}
			wantClose(t, got, c.want)
			wantClose(t, []float32{scale}, []float64{c.scale})
		})
	}
}

// wantClose compares up to the rounding to float32.
func wantClose(t *testing.T, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	for i, w := range want {
		if math.Abs(float64(got[i])-w) > 1.2e-7*w {
			t.Errorf("value %d is %.9g, want %.9g", i, got[i], w)
		}
	}
}

// TestYarnOfQwen checks where the ramp of Qwen2.5's published setting begins and ends.
func TestYarnOfQwen(t *testing.T) {
	plain, _, err := Rope{Theta: 1e6}.InvFreq(128)
	if err != nil {
		t.Fatal(err)
	}
	scaled, _, err := Rope{Type: "yarn", Theta: 1e6, Factor: 4, OriginalMaxPositionEmbeddings: 32768}.InvFreq(128)
	if err != nil {
		t.Fatal(err)
	}
	for i := range plain {
		ratio := plain[i] / scaled[i]
		switch { // floor(23.6) and ceil(39.7): see yarnDim
		case i <= 23 && ratio != 1, i >= 40 && math.Abs(float64(ratio)-4) > 1e-6, i > 23 && i < 40 && (ratio <= 1 || ratio >= 4):
			t.Errorf("frequency %d is divided by %g", i, ratio)
		}
	}
}

// TestLlama3Rope follows the published formula by hand: with an original
// context of 64, wavelengths below 64/4 are kept, those above 64/1 divided by 8.
func TestLlama3Rope(t *testing.T) {
	c, err := LoadConfig(testfiles.Golden(t, "hf/llama31"))
	if err != nil {
		t.Fatal(err)
	}
	got, scale, err := c.Rope.InvFreq(c.HeadDim)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, 16)
	for i := range want {
		f := math.Exp(-float64(i) / 16 * math.Log(500000))
		switch wavelength := 2 * math.Pi / f; {
		case wavelength < 16:
			want[i] = f
		case wavelength > 64:
			want[i] = f / 8
		default:
			smooth := (64/wavelength - 1) / (4 - 1)
			want[i] = (1-smooth)*f/8 + smooth*f
		}
	}
	wantClose(t, got, want)
	wantClose(t, got[:4], []float64{1, 0.440366603, 0.0794030092, 0.0106746375})
	if scale != 1 {
		t.Errorf("attention scale %g, want 1", scale)
	}
}

func TestInvFreqErrors(t *testing.T) {
	for want, c := range map[string]struct {
		rope    Rope
		headDim int
	}{
		`rope_type: found "mrope", want one of default, linear,`:                          {Rope{Type: "mrope", Theta: 10000}, 8},
		"rope_theta: found 0, want a number above 1":                                      {Rope{}, 8},
		"factor: found 0, want a positive number":                                         {Rope{Type: "linear", Theta: 10000}, 8},
		"original_max_position_embeddings: found 0, want an integer":                      {Rope{Type: "dynamic", Theta: 10000, Factor: 2}, 8},
		"low_freq_factor: found 0":                                                        {Rope{Type: "llama3", Theta: 10000, Factor: 2, OriginalMaxPositionEmbeddings: 64}, 8},
		"high_freq_factor: found 1, want a number above low_freq_factor":                  {Rope{Type: "llama3", Theta: 10000, Factor: 2, OriginalMaxPositionEmbeddings: 64, LowFreqFactor: 1, HighFreqFactor: 1}, 8},
		"short_factor: found 1, want 4 factors, one per frequency":                        {Rope{Type: "longrope", Theta: 10000, Factor: 2, OriginalMaxPositionEmbeddings: 64, ShortFactor: []float64{1}}, 8},
		"partial_rotary_factor: found 0.4, which rotates 3 of 8 dimensions, want an even": {Rope{Theta: 10000, PartialRotaryFactor: 0.4}, 8},
		"partial_rotary_factor: found 1, which rotates 7 of 7 dimensions":                 {Rope{Theta: 10000}, 7},
	} {
		_, _, err := c.rope.InvFreq(c.headDim)
		wantError(t, err, want)
	}
}

package quant

import (
	"math"
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/model"
)

// TestConstantMaps: a map of one number is said, one with a single other weight is not.
func TestConstantMaps(t *testing.T) {
	m := demoModel(t)
	with := func(last float32) *model.Base {
		return replaceFrozen(m.Base, func(name string, l *model.Linear) *model.Linear {
			if name != "model.layers.1.mlp.up_proj" {
				return l
			}
			w := slices.Repeat([]float32{0.5}, l.In*l.Out)
			w[len(w)-1] = last
			return model.NewLinear(l.Name, l.In, l.Out, w, l.Bias)
		})
	}
	want := []string{"all weights of model.layers.1.mlp.up_proj are 0.5: the checkpoint may be damaged, or was never trained"}
	if got := constantMaps(with(0.5)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := constantMaps(with(0.25)); len(got) > 0 {
		t.Errorf("%q, of maps that are not constant", got)
	}
}

// TestJobParams: parameters of the block that float16 does not hold are refused before the work.
func TestJobParams(t *testing.T) {
	for _, v := range []float32{1e38, -65536, float32(math.NaN())} {
		j := demoJob(t)
		j.Calibration.Files = data.One("gone.jsonl") // the work would begin with it
		p := j.Model.Params.List()[0]
		p.Data[len(p.Data)-1] = v
		_, err := j.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "the block's tensor "+p.Name+" holds ") || !strings.Contains(err.Error(), "65504") {
			t.Errorf("%g: error %v", v, err)
		}
	}
}

package fit

import (
	"iter"
	"math"
	"testing"
	"time"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
	"eisft/quant"
	"eisft/quant/encoding"
)

// TestSlowReconstruct: on the demo base, weights of 4 bits a channel that are reconstructed
// have lower errors in every layer than rounded ones, and less than 0.7 of what rounding costs
// in perplexity on text that nothing was fitted to.
func TestSlowReconstruct(t *testing.T) {
	testfiles.Slow(t)
	m := modeltest.Open(t, testfiles.Base(t, "demo"), modeltest.DefaultBlock(t))
	calib, test := demoTexts(t, "calib.parquet", 9), demoTexts(t, "test.parquet", 6)
	q := quantized(t, m, "w4a16", calib[:2])
	r := &quant.Recipe{Weights: quant.RoundNearest, Seed: 1}
	r.SetReconstruction(200) // all else as recipes have it by default
	o := quant.RoundOptions{
		Recipe: r, Samples: func() iter.Seq2[data.Encoded, error] { return sequence(calib) },
		Format: func(_ string, head bool) encoding.Format {
			if head {
				return encoding.Format{Bits: 8}
			}
			return encoding.Format{Bits: 4}
		},
	}
	loss := func(what string) float64 {
		faked, wrap := m, model.Wrap(nil)
		if what != "float" {
			if err := quant.RoundWeights(t.Context(), m, q, o); err != nil {
				t.Fatal(err)
			}
			var err error
			if faked, wrap, err = quant.Apply(m, q); err != nil {
				t.Fatal(err)
			}
		}
		v := nll(t, faked, wrap, test)
		t.Logf("%s: perplexity %.4f", what, math.Exp(v))
		return v
	}
	float, nearest := loss("float"), loss("rounded")
	o.Refine = Reconstruct(m, r, q, nil)
	start := time.Now()
	fitted := loss("reconstructed")
	t.Logf("increase of the perplexity: %.2f %% rounded, %.2f %% reconstructed, in %.0f s", 100*math.Expm1(nearest-float), 100*math.Expm1(fitted-float), time.Since(start).Seconds())
	for _, l := range q.Reconstructed {
		t.Logf("layer %d: error %.5f of the output's square, rounded %.5f", l.Layer, l.Fitted, l.Rounded)
		if !l.Kept {
			t.Errorf("layer %d: the fit was not kept", l.Layer)
		}
	}
	if len(q.Reconstructed) != len(m.Base.Layers) || !(fitted-float < 0.7*(nearest-float)) {
		t.Errorf("%d layers were reconstructed; the loss rises by %.4f, and by %.4f rounded", len(q.Reconstructed), fitted-float, nearest-float)
	}
}

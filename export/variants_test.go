package export_test

import (
	"testing"

	"eisft/export/exporttest"
	"eisft/export/lower"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
)

// TestGoldenVariants compares the graphs of golden checkpoints that have scales, caps, norms
// after all else or layers without rotary embedding with the Go model, which their goldens
// hold: quantized, and with absolute positions.
func TestGoldenVariants(t *testing.T) {
	orttest.Require(t)
	absolute := func(s *model.Spec) { s.Positions = model.PositionsAbsolute }
	for _, name := range []string{"gemma2", "granite", "smollm3", "olmo2", "exaone4"} {
		for what, change := range map[string]func(*model.Spec){"compact": nil, "absolute": absolute} {
			t.Run(name+" "+what, func(t *testing.T) {
				b, err := model.LoadBase(testfiles.Base(t, name))
				if err != nil {
					t.Fatal(err)
				}
				m, o := exporttest.Join(t, b, exporttest.Block(change)), options()
				bounds := []float64{1e-4, 0.04}
				if change == nil {
					o.Quantized = exporttest.Quantized(t, m)
				} else { // which quantized graphs do not have
					o.Inputs, bounds = lower.InputIDs, bounds[:1]
				}
				_, info := exported(t, m, o)
				for i, bound := range bounds {
					if v := info.Verification[i]; v.MaxLogitError > bound || v.Written == 0 {
						t.Errorf("%+v: want at most %g, with tokens in memory", v, bound)
					}
				}
			})
		}
	}
}

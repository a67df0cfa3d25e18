package export_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/lower"
	"eisft/export/ort/orttest"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/kernels"
	"eisft/quant"
)

// TestRandomIntegerAttention compares driven graphs of schemes with integer attention with the
// fake-quantized Go model, for blocks and bases drawn at random and for targets with signed
// and with unsigned activations.
func TestRandomIntegerAttention(t *testing.T) {
	orttest.Require(t)
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 11))
		spec := randomBlock(r)
		spec.Positions = model.PositionsCompact
		m := exporttest.Model(t, spec, func(c *hf.Config) {
			randomBase(r, c)
			randomVariant(rand.New(rand.NewPCG(seed, 17)), c)
			randomNorms(rand.New(rand.NewPCG(seed, 15)), c)
			c.HiddenAct = string(pick(r, model.SiLU, model.GELUTanh))
		})
		for _, p := range m.Params.List() {
			if strings.Contains(p.Name, "memory.feature_") {
				kernels.Scale(0.3, p.Data)
			}
		}
		tokens := pick(r, spec.Segment, spec.Segment, 1+r.IntN(7))
		o := options()
		o.Inputs, o.QuantizedOnly = pick(r, lower.InputEmbeds, lower.InputIDs), true
		o.Sizes = []export.Size{{Tokens: tokens, Cache: spec.Sink + spec.Window + spec.Slots + tokens + r.IntN(4)}}
		for _, scheme := range []quant.Scheme{
			exporttest.Scheme(t, "w8a16", pick(r, quant.Generic, quant.QNN)), exporttest.Scheme(t, "w8a8", pick(r, quant.Generic, quant.QNN)),
		} {
			what := fmt.Sprintf("seed %d: %s, %+v, %v, %+v", seed, scheme, spec, o.Sizes, m.Base.Config)
			o.Quantized = exporttest.QuantizedAs(t, m, scheme)
			info, report, err := export.Export(t.Context(), m, filepath.Join(t.TempDir(), "out"), o)
			if err != nil {
				t.Errorf("%v: %s", err, what)
				continue
			}
			for _, f := range report.Findings {
				t.Errorf("%s: %s", f, what)
			}
			v := info.Verification[0]
			t.Logf("seed %d %s %s: max %.3g of %.3g, mean %.3g of %.3g, range %.3g, %d of %d, codes %.3g of %.3g", seed, scheme.Name, scheme.Target, v.MaxLogitError, v.Tolerance.Max, v.MeanLogitError, v.Tolerance.Mean, v.LogitRange, v.EqualTokens, v.Compared, v.OtherCodes, v.Tolerance.Codes)
		}
	}
}

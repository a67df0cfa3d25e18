package export_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/kernels"
	"eisft/quant"
)

// TestRandomIntegerAttention compares driven graphs of schemes with integer attention with the
// fake-quantized Go model, for blocks and bases drawn at random and for targets with signed
// and with unsigned activations.
func TestRandomIntegerAttention(t *testing.T) { randomIntegerAttention(t, 0, 3) }

// TestSlowRandomIntegerAttention: for more of them.
func TestSlowRandomIntegerAttention(t *testing.T) {
	testfiles.Slow(t)
	randomIntegerAttention(t, 3, 12)
}

// randomIntegerAttention draws by seeds of [from, to).
func randomIntegerAttention(t *testing.T, from, to uint64) {
	orttest.Require(t)
	export.VerifyAt(t, ort.All)
	for seed := from; seed < to; seed++ {
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

// TestFloatShare: a graph's share in float is that of the products which docs/graphs.md,
// section 6, names, and of the attention's where that is not in whole numbers.
func TestFloatShare(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	const tokens, cache = 4, 17
	d, f := m.Base.Dims, m.Spec.FeatureSize(m.Base.Dims.HeadDim)
	layers := len(m.Base.Layers)
	attention := layers * 2 * d.Heads * tokens * (cache + tokens) * d.HeadDim
	float := layers * tokens * (d.Hidden*d.KVHeads + // retention scores
		d.Heads*(d.HeadDim*f/2+f*d.HeadDim+f+d.HeadDim)) // feature map, read, mass and the gate's term
	maps := tokens * m.Base.Head.In * m.Base.Head.Out
	for _, l := range m.Base.Layers {
		for _, p := range l.Maps() {
			maps += tokens * p.In * p.Out
		}
	}
	all := float64(attention + float + maps)
	for scheme, want := range map[string]float64{
		"w8a16": float64(float) / all, "w8a8": float64(float) / all, "w8a16-mixed": float64(float+attention) / all, "w4-g32": 1,
	} {
		s := exporttest.Scheme(t, scheme, quant.Generic)
		if s.Weight.Block > 0 {
			s.Weight.Block = 8 // which divides this model's rows
		}
		o := options()
		o.NoVerify, o.QuantizedOnly, o.Quantized = true, true, exporttest.QuantizedAs(t, m, s)
		_, info := exported(t, m, o)
		if got := info.Of("4x17", scheme)[manifest.PromptGraph].FloatMACs; math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %.4f of the products in float, want %.4f", scheme, got, want)
		}
		if got := info.Of("4x17", scheme)[manifest.CommitGraph].FloatMACs; got != 1 {
			t.Errorf("%s: the commit graph has %.4f in float, want all", scheme, got)
		}
		if mask := info.MaskOf(scheme); s.IntegerAttention() != (mask > -200) || info.MaskOf(manifest.Float) != lower.MaskValue {
			t.Errorf("%s: masks hold %g", scheme, mask)
		}
	}
}

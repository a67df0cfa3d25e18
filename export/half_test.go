package export_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/exporttest"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/kernels"
)

// TestDemoBaseInFloat16: on a real base, float16 keeps the best tokens of every gate and
// feature map, rounded everywhere and in graphs of float16.
func TestDemoBaseInFloat16(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	b, err := model.LoadBase(testfiles.Shared(t, "demo/base"))
	if err != nil {
		t.Fatal(err)
	}
	// The keys and values that a float16 graph gives are rounded too, which near ties of
	// random tokens feel.
	least := map[string]float64{"round trip": 0.99, "float16": 0.98}
	rows, equal := map[string]int{}, map[string]int{}
	for name, change := range map[string]func(*model.Spec){
		"slot":     nil,
		"mass elu": func(s *model.Spec) { s.Gate, s.Feature = model.GateMass, model.FeatureELU },
		"mass":     func(s *model.Spec) { s.Gate = model.GateMass },
		"delta":    func(s *model.Spec) { s.Memory, s.Gate = model.MemoryDelta, model.GateVector },
	} {
		t.Run(name, func(t *testing.T) {
			m := exporttest.Join(t, b, exporttest.Block(func(s *model.Spec) {
				s.Sink, s.Slots, s.Window = 4, 44, 48
				if change != nil {
					change(s)
				}
			}))
			soften(m)
			o := options()
			o.Sizes, o.Precisions = []export.Size{{Tokens: 32, Cache: 128}}, export.Precisions()
			_, info := exported(t, m, o)
			for _, v := range info.Verification {
				if r := v.RoundTrip; r != nil {
					rows["round trip"] += r.Compared
					equal["round trip"] += r.EqualTokens
				} else {
					rows[v.Precision] += v.Compared
					equal[v.Precision] += v.EqualTokens
				}
			}
		})
	}
	for what, n := range rows {
		t.Logf("%s: %d of %d best tokens stay equal", what, equal[what], n)
		if float64(equal[what]) < least[what]*float64(n) {
			t.Errorf("%s: %d of %d best tokens stay equal, want %.0f %%", what, equal[what], n, 100*least[what])
		}
	}
	if len(rows) != 2 {
		t.Errorf("compared %v, want a round trip and float16", rows)
	}
}

// TestLostTokens: a model that float16 does not hold is reported, with the tensor that left
// it first: as a warning, or as an error for what needs float16.
func TestLostTokens(t *testing.T) {
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	l := m.Base.Layers[1]
	scaled := func(old *model.Linear, by float32) *model.Linear {
		w := slices.Clone(old.Weight())
		kernels.Scale(by, w)
		return model.NewLinear(old.Name, old.In, old.Out, w, old.Bias)
	}
	l.Up, l.Down = scaled(l.Up, 3e4), scaled(l.Down, 1/3e4)
	for target, severity := range map[check.Target]check.Severity{check.Generic: check.Warning, check.QNN: check.Error} {
		o := options()
		o.NoVerify = true
		dir := filepath.Join(t.TempDir(), "out")
		if _, _, err := export.Export(t.Context(), m, dir, o); err != nil {
			t.Fatal(err)
		}
		report, err := export.Check(t.Context(), dir, target, export.Against{Model: m})
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(report.Findings, func(f check.Finding) bool {
			return f.Rule == check.RuleTokens && f.Severity == severity && strings.Contains(f.Message, "; lost first: ") &&
				strings.Contains(f.Message, "layers.1/up_proj reaches ") && strings.Contains(f.Message, "beyond the largest float16")
		})
		if !found || (report.Err() != nil) != (severity == check.Error) {
			t.Errorf("%s: %v (%v)", target, report.Findings, report.Err())
		}
		if v := report.Verification[0]; v.KeepsTokens() || v.RoundTrip.Lost == "" {
			t.Errorf("%s: %+v", target, v.RoundTrip)
		}
	}
}

package export_test

import (
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/exporttest"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
)

// TestLevels: quantized and float graphs load and are right at every level of ONNX Runtime,
// with a cache of 8 bits behind which keys are reshaped and transposed.
func TestLevels(t *testing.T) {
	orttest.Require(t)
	m := exporttest.Model(t, exporttest.Block(func(s *model.Spec) { s.Feature = model.FeatureELU }), families["partial rotary"])
	o := options()
	o.Quantized = exporttest.Quantized(t, m)
	dir, info := exported(t, m, o)
	for _, v := range info.Verification {
		var names []string
		for _, l := range v.Levels {
			names = append(names, l.Name)
			if l.MaxLogitError > v.Tolerance.Max {
				t.Errorf("%s at %s: %g", v.Precision, l.Name, l.MaxLogitError)
			}
		}
		if got := strings.Join(names, " "); got != "disabled basic extended all" {
			t.Errorf("%s: levels %s", v.Precision, got)
		}
		v.Levels[3].MaxLogitError = 2 * v.Tolerance.Max
		if v.Passed() {
			t.Error("graphs that are wrong at one level pass")
		}
		if err := (&export.Report{Verification: []manifest.Verification{v}}).Err(); err == nil || !strings.Contains(err.Error(), "largest at ONNX Runtime's level all ") {
			t.Errorf("%v does not name the level", err)
		}
	}
	report, err := export.Check(t.Context(), dir, check.NoTarget, export.Against{Load: true})
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("%v (%v)", report.Findings, err)
	}
}

// TestLoads: a graph that only some levels load is found.
func TestLoads(t *testing.T) {
	orttest.Require(t)
	for _, file := range []string{"dq-transpose-mul.onnx"} {
		path := testfiles.Shared(t, "cases/export/ort-default-level/"+file)
		if s, err := ort.Open(path, ort.Options{Level: ort.Extended}); err == nil {
			_ = s.Close()
			t.Skip("this ONNX Runtime loads it")
		}
		report, err := export.Check(t.Context(), path, check.NoTarget, export.Against{Load: true})
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, f := range report.Findings {
			if f.Rule == check.RuleLoads && strings.Contains(f.Message, "ONNX Runtime does not load it at the level ") {
				found++
			}
		}
		if found != 2 { // extended and all
			t.Errorf("%s: %v", file, report.Findings)
		}
	}
}

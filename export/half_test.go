package export_test

import (
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
)

// TestDemoBaseInFloat16: on a real base, float16 keeps the best tokens of every gate and
// feature map, rounded everywhere and in graphs of float16.
func TestDemoBaseInFloat16(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	orttest.Require(t)
	b, err := model.LoadBase(testfiles.Shared(t, "demo/base"))
	if err != nil {
		t.Fatal(err)
	}
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
			o := options()
			o.Sizes, o.Precisions = []export.Size{{Tokens: 32, Cache: 128}}, export.Precisions()
			o.Quantized = exporttest.Quantized(t, m)
			_, info := exported(t, m, o)
			for _, v := range info.Verification {
				t.Logf("%+v %+v", v, v.RoundTrip)
				equal, rows := v.EqualTokens, v.Compared
				if r := v.RoundTrip; r != nil {
					equal, rows = r.EqualTokens, r.Compared
					if r.Lost != "" && !strings.Contains(r.Lost, "which is 0") {
						t.Errorf("%s: %s", v.Precision, r.Lost)
					}
				}
				if float64(equal) < 0.99*float64(rows) {
					t.Errorf("%s: %d of %d best tokens stay equal in float16, want 99 %%", v.Precision, equal, rows)
				}
			}
		})
	}
}

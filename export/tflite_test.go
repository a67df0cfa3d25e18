package export_test

import (
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/tflite/litert/litertest"
	"eisft/quant"
)

// TestTFLite: the whole pair, driven in LiteRT, gives what the Go model gives.
func TestTFLite(t *testing.T) {
	litertest.Require(t)
	for _, scheme := range []string{"w8a16", "w8a16-mixed", "w4a16", "w8a8"} {
		t.Run(scheme, func(t *testing.T) {
			m := exporttest.Model(t, exporttest.Block(nil), nil)
			o := options()
			o.Format = export.FormatTFLite
			o.Quantized = exporttest.QuantizedAs(t, m, exporttest.Scheme(t, scheme, quant.LiteRT))
			_, info := exported(t, m, o)
			for _, v := range info.Verification {
				t.Logf("%s in %s: %d of %d equal, max %.3g of %.3g mean %.3g of %.3g codes %.3g of %.3g, range %.3g", v.Precision, v.Runtime, v.EqualTokens, v.Compared, v.MaxLogitError, v.Tolerance.Max, v.MeanLogitError, v.Tolerance.Mean, v.OtherCodes, v.Tolerance.Codes, v.LogitRange)
			}
		})
	}
}

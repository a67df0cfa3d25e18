package export_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
)

// TestPage: an export's page has every graph, op, file, encoding and figure of it, and asks
// for nothing outside itself.
func TestPage(t *testing.T) {
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.Name, o.Quantized = "a < b & c", exporttest.Quantized(t, m)
	dir, info := exported(t, m, o)
	raw, err := os.ReadFile(filepath.Join(dir, export.PageFile))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	want := []string{"Export: a &lt; b &amp; c", "4x17: 4 new tokens beside a cache of 17", o.Quantized.Scheme.String()}
	for _, g := range info.Graphs {
		want = append(want, "<code>"+g.Parts[0].File+"</code>")
		if g.FloatMACs > 0 {
			want = append(want, fmt.Sprintf("<td>%.1f %%</td>", 100*g.FloatMACs))
		}
	}
	for op, n := range info.Graphs[3].Parts[0].Ops {
		want = append(want, fmt.Sprintf("<span>%s</span>", op), fmt.Sprintf("<b>%d</b>", n))
	}
	for _, f := range info.Files {
		if f.Name != export.PageFile {
			want = append(want, "<td><code>"+f.Name+"</code></td>", f.SHA256[:12])
		}
	}
	for _, p := range o.Quantized.Points {
		want = append(want, "<td><code>"+p.Name+"</code></td>")
	}
	for _, w := range o.Quantized.Weights {
		want = append(want, "<td><code>"+w.Name+"</code></td>")
	}
	for _, v := range info.Verification {
		want = append(want, fmt.Sprintf("%d of %d", v.EqualTokens, v.Compared), fmt.Sprintf("%.3g ≤ %.3g", v.MaxLogitError, v.Tolerance.Max))
	}
	d := m.Base.Dims
	cache := len(m.Base.Layers) * 2 * d.KVHeads * d.HeadDim * 17 // codes of 8 bits
	want = append(want, fmt.Sprintf("cache %.2f", float64(cache)/1e6), fmt.Sprintf("title=\"cache: %.2f MB\"", float64(4*cache)/1e6))
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the page has no %q", w)
		}
	}
	for _, bad := range []string{"http:", "https:", "src=", "@import", "ZgotmplZ", "NaN"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if errs := info.VerifyFiles(dir, func(string) (string, error) { return "", nil }); len(errs) != len(info.Files) {
		t.Errorf("%d of %d files are listed", len(errs), len(info.Files))
	}
	o.NoVerify, o.QuantizedOnly = true, true
	dir, _ = exported(t, m, o)
	if raw, err = os.ReadFile(filepath.Join(dir, export.PageFile)); err != nil || !strings.Contains(string(raw), "The graphs were not compared with the Go model.") {
		t.Errorf("a page without figures does not say so (%v)", err)
	}
}

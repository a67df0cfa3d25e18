package export_test

import (
	"context"
	"errors"
	"math"
	"os"
	"testing"

	"eisft/export/exporttest"
	"eisft/export/host"
	"eisft/export/lower"
	"eisft/export/ort/orttest"
	"eisft/model"
	"eisft/model/modeltest"
	"eisft/quant"
)

// apart reads the first segment with the graphs of a folder and with the Go model of the same
// codes. It returns by how many codes the two are apart on average, of stored keys and values
// and of logits.
func apart(t *testing.T, dir string, m *model.Model, q *quant.Quantized) (stored, logits float64) {
	t.Helper()
	faked, wrap, err := quant.Apply(m, q)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := host.Open(dir, host.Options{Shape: size.String(), Precision: q.Scheme.Name})
	if err != nil {
		t.Fatal(err)
	}
	exported, err := loaded.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(exported.Close(), loaded.Close()); err != nil {
			t.Error(err)
		}
	}()
	far := func(got, want []float32, point string) (steps float64) {
		if len(got) != len(want) {
			t.Fatalf("%s: %d numbers, want %d", point, len(got), len(want))
		}
		scale := float64(q.Point(point).Encoding.Scales[0])
		for i, v := range got {
			steps += math.Abs(float64(v)-float64(want[i])) / scale / float64(len(got))
		}
		return steps
	}
	ids := modeltest.Tokens(m, m.Spec.Segment)
	st := faked.NewStream(model.StreamOptions{Wrap: wrap})
	var want, got []float32
	err = st.Feed(t.Context(), ids, 0, func(_ int, hidden []float32) error {
		rows := make([]float32, len(hidden)/m.Base.Dims.Hidden*m.Base.Head.Out)
		st.Logits(rows, hidden)
		want = append(want, rows...)
		return nil
	})
	if err == nil {
		err = exported.Feed(context.Background(), ids, func(_ int, rows []float32) error {
			got = append(got, rows...)
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range m.Base.Layers {
		keys, values := exported.Stored(i)
		stored += (far(keys, st.State.Layers[i].K.Floats(), quant.KeyPoint(l)) + far(values, st.State.Layers[i].V.Floats(), quant.ValuePoint(l))) / float64(2*len(m.Base.Layers))
	}
	return stored, far(got, want, quant.HeadOutput)
}

// TestFirstSegmentSeesEveryNumber: in the first segment, where differences have had no time to
// spread, graphs and Go model have the same keys, values and logits in 16 bits, but for a code
// here and there on the edge to the next one; a scale, a zero point or a single code of a
// weight that is wrong puts them further apart, wherever in the model it is. What no output
// shows is a zero point that is as wrong in the node that reads codes as in the one that makes
// them: it shifts codes that nobody else sees. TestWrongEncodings finds that one, too.
func TestFirstSegmentSeesEveryNumber(t *testing.T) {
	orttest.Require(t)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.Inputs, o.NoVerify, o.QuantizedOnly = lower.InputIDs, true, true
	first, last := m.Base.Layers[0], m.Base.Layers[1]
	const unseen = 0.1 // codes
	scheme, err := exporttest.Scheme(t, "w8a16", quant.QNN).WithCache(16)
	if err != nil {
		t.Fatal(err)
	}
	o.Quantized = exporttest.QuantizedAs(t, m, scheme)
	good, _ := exported(t, m, o)
	stored, logits := apart(t, good, m, o.Quantized)
	t.Logf("as exported: %.3g codes apart, logits %.3g", stored, logits)
	if stored > unseen/2 || logits > unseen/2 {
		t.Fatal("as exported, they are apart")
	}
	for _, c := range []struct {
		what   string
		cache  bool // shows in stored keys and values already
		change func(t *testing.T, f onnxFile)
	}{
		{"scale of an input", true, func(t *testing.T, f onnxFile) {
			f.replaceOf(t, "DequantizeLinear", quant.InputPoint(last, last.Q), 1, scaled(1.5))
		}},
		{"scale of the head's input", false, func(t *testing.T, f onnxFile) {
			f.replaceOf(t, "DequantizeLinear", quant.HeadInput, 1, scaled(1.5))
		}},
		{"scale of a channel", true, func(t *testing.T, f onnxFile) { f.replace(t, last.V.Name, 1, scaled(1.5)) }},
		{"zero point of the stream", true, func(t *testing.T, f onnxFile) {
			f.replaceOf(t, "DequantizeLinear", quant.InnerPoints(first).AttentionResidual, 2, addOne)
		}},
		{"zero point of values", true, func(t *testing.T, f onnxFile) {
			f.replaceOf(t, "QuantizeLinear", quant.ValuePoint(last), 2, addOne)
		}},
		{"zero point of the head's output", false, func(t *testing.T, f onnxFile) {
			f.replaceOf(t, "DequantizeLinear", quant.HeadOutput, 2, addOne)
		}},
		{"code of a key", true, func(t *testing.T, f onnxFile) { f.flip(t, last.K.Name, 5, new(bool)) }},
		{"code of the feed-forward", true, func(t *testing.T, f onnxFile) { f.flip(t, first.Gate.Name, 2*first.Gate.Out+3, new(bool)) }},
		{"code of the last map", false, func(t *testing.T, f onnxFile) { f.flip(t, last.Down.Name, 7, new(bool)) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			mutate(t, dir, func(f onnxFile) { c.change(t, f) })
			stored, logits := apart(t, dir, m, o.Quantized)
			t.Logf("%.3g codes apart, logits %.3g", stored, logits)
			if logits <= unseen || c.cache && stored <= unseen {
				t.Error("nobody sees it")
			}
		})
	}
}

// addOne adds one to the first byte, of a number that does not end with 255.
func addOne(raw []byte) { raw[0]++ }

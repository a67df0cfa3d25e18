package fit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/graph"
	"eisft/model/kernels"
	"eisft/model/modeltest"
	"eisft/model/tokenizer"
	"eisft/quant"
	"eisft/quant/encoding"
)

// demoTexts reads the first n rows of a file of the demo's data.
func demoTexts(t testing.TB, file string, n int) []data.Encoded {
	t.Helper()
	dir := testfiles.Base(t, "demo")
	tk, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := tokenizer.LoadTemplate(dir)
	if err != nil {
		t.Fatal(err)
	}
	source, err := data.Open(testfiles.Repository(t, filepath.Join("data/demo", file)), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var all []data.Encoded
	encoder := data.NewEncoder(tk, tpl, 0)
	for i := range n {
		s, err := source.At(i)
		if err != nil {
			t.Fatal(err)
		}
		e, err := encoder.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func sequence(all []data.Encoded) iter.Seq2[data.Encoded, error] {
	return func(yield func(data.Encoded, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// nll is the mean negative log-likelihood of all tokens of texts, in nats.
func nll(t testing.TB, m *model.Model, w model.Wrap, texts []data.Encoded) float64 {
	t.Helper()
	sum, n, vocab := 0.0, 0, m.Base.Head.Out
	for _, e := range texts {
		st := m.NewStream(model.StreamOptions{Wrap: w})
		err := st.Feed(t.Context(), e.IDs, 0, func(first int, hidden []float32) error {
			rows := len(hidden) / m.Base.Dims.Hidden
			logits := make([]float32, rows*vocab)
			st.Logits(logits, hidden)
			for i := range rows {
				if at := first + i + 1; at < len(e.IDs) {
					row := logits[i*vocab : (i+1)*vocab]
					sum += float64(kernels.LogSumExp(row) - row[e.IDs[at]])
					n++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sum / float64(n)
}

// quantized calibrates a model on texts, of a scheme.
func quantized(t testing.TB, m *model.Model, scheme string, calib []data.Encoded) *quant.Quantized {
	t.Helper()
	seen, err := quant.Calibrate(t.Context(), m, sequence(calib))
	if err != nil {
		t.Fatal(err)
	}
	s, err := quant.ParseScheme(scheme)
	if err != nil {
		t.Fatal(err)
	}
	q, err := quant.Quantize(m, s, quant.RangeMinMax, seen)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// small is the demo base with a block whose cache and memory fill up within 200 tokens.
func small(t testing.TB) *model.Model {
	t.Helper()
	s := modeltest.DefaultBlock(t)
	s.Sink, s.Window, s.Segment, s.Slots = 4, 32, 32, 32
	return modeltest.Open(t, testfiles.Base(t, "demo"), s)
}

// cut returns the first tokens of texts.
func cut(texts []data.Encoded, tokens int) []data.Encoded {
	var out []data.Encoded
	for _, e := range texts {
		e.IDs, e.Turns = e.IDs[:tokens], nil
		out = append(out, e)
	}
	return out
}

// refined rounds the weights of a model's first layers and refines them.
func refined(t testing.TB, m *model.Model, q *quant.Quantized, r *quant.Recipe, f encoding.Format, texts []data.Encoded, layers int) error {
	t.Helper()
	refine, enough := Reconstruct(m, r, q, nil), errors.New("enough")
	err := quant.RoundWeights(t.Context(), m, q, quant.RoundOptions{
		Recipe: r, Samples: func() iter.Seq2[data.Encoded, error] { return sequence(texts) },
		Format: func(_ string, head bool) encoding.Format {
			if head {
				return encoding.Format{Bits: 8}
			}
			return f
		},
		Refine: func(ctx context.Context, l *quant.Layer) error {
			if l.Index == layers {
				return enough
			}
			return refine(ctx, l)
		},
	})
	if errors.Is(err, enough) {
		return nil
	}
	return err
}

// TestReconstruct: a few steps lower the error of the first layers' outputs on stretches
// that no gradient has seen, by every format, and the same seed gives the same.
func TestReconstruct(t *testing.T) {
	m, calib := small(t), cut(demoTexts(t, "calib.parquet", 4), 520)
	r := &quant.Recipe{Weights: quant.RoundNearest, Seed: 3, Reconstruct: quant.Reconstruct{
		Steps: 25, Tokens: 4 * 512, Batch: 2, LR: 0.05, ScaleLR: 0.003, Rounding: true, Scales: true,
	}}
	for name, f := range map[string]encoding.Format{"rows": {Bits: 4}, "low power": {Bits: 4, Block: 32, LowPower: true}} {
		t.Run(name, func(t *testing.T) {
			q := quantized(t, m, "w8a16", calib[:1])
			if err := refined(t, m, q, r, f, calib, 2); err != nil {
				t.Fatal(err)
			}
			first := q.Reconstructed
			if !f.LowPower { // the same once more
				if err := refined(t, m, q, r, f, calib, 2); err != nil || !slices.Equal(first, q.Reconstructed) {
					t.Errorf("error %v: %+v, and then %+v", err, first, q.Reconstructed)
				}
			}
			for _, l := range first {
				t.Logf("layer %d: %.4g became %.4g", l.Layer, l.Rounded, l.Fitted)
			}
			if l := first[1]; len(first) != 2 || l.Layer != 1 || l.Held != 12*32 || !l.Kept || !(l.Fitted < 0.95*l.Rounded) || l.Rounded > 0.1 {
				t.Errorf("%+v, want layer 1 with a lower error", first)
			}
		})
	}
}

// TestReconstructKeepsTheStart: where a fit has the greater error the codes are those that
// it began with.
func TestReconstructKeepsTheStart(t *testing.T) {
	m, calib := small(t), cut(demoTexts(t, "calib.parquet", 1), 260)
	q := quantized(t, m, "w8a16", calib)
	r := &quant.Recipe{Weights: quant.RoundNearest, Reconstruct: quant.Reconstruct{Steps: 2, Tokens: 256, Batch: 1, LR: 0.01, ScaleLR: 1, Rounding: true, Scales: true}}
	var before, after []byte
	refine := Reconstruct(m, r, q, nil)
	_ = quant.RoundWeights(t.Context(), m, q, quant.RoundOptions{
		Recipe: r, Samples: func() iter.Seq2[data.Encoded, error] { return sequence(calib) },
		Format: func(string, bool) encoding.Format { return encoding.Format{Bits: 4} },
		Refine: func(ctx context.Context, l *quant.Layer) error {
			before = fmt.Append(nil, l.Weights[model.RoleDown])
			if err := refine(ctx, l); err != nil {
				t.Error(err)
			}
			after = fmt.Append(nil, l.Weights[model.RoleDown])
			return errors.New("enough")
		},
	})
	if l := q.Reconstructed; len(l) != 1 || l[0].Kept || !(l[0].Fitted > l[0].Rounded) {
		t.Errorf("%+v, want a fit that is not kept", l)
	}
	if !bytes.Equal(before, after) {
		t.Error("the layer is not as it was rounded first")
	}
}

func TestReconstructErrors(t *testing.T) {
	m, calib := small(t), cut(demoTexts(t, "calib.parquet", 1), 260)
	q := quantized(t, m, "w8a16", calib)
	r := &quant.Recipe{Weights: quant.RoundNearest, Reconstruct: quant.Reconstruct{Steps: 2, Tokens: 60, Rounding: true}}
	err := refined(t, m, q, r, encoding.Format{Bits: 4}, calib, 1)
	if want := "reconstruct layer 0: the calibration data have 1 whole segments of 32 tokens among the first 60; want at least 2"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	for _, none := range []quant.Reconstruct{{}, {Steps: 5}} {
		if Reconstruct(m, &quant.Recipe{Reconstruct: none}, q, nil) != nil {
			t.Errorf("%+v fits something", none)
		}
	}
}

// TestPoints: every site of a layer with norms of queries and keys has the point that streams
// round there.
func TestPoints(t *testing.T) {
	l := *small(t).Base.Layers[0]
	l.QNorm, l.KNorm = &model.Norm{Name: "q"}, &model.Norm{Name: "k"}
	for at, want := range map[graph.Site]string{
		{Map: model.RoleKey}:                  quant.InputPoint(&l, l.Q),
		{Map: model.RoleDown, Output: true}:   quant.OutputPoint(l.Down),
		{Norm: model.NormKey, Output: true}:   quant.KeyPoint(&l),
		{Norm: model.NormQuery, Output: true}: quant.NormPoint(l.QNorm),
		{Norm: model.NormInput, Output: true}: quant.NormPoint(l.InputNorm),
	} {
		if got := pointAt(&l, at); got != want {
			t.Errorf("%+v: %s, want %s", at, got, want)
		}
	}
	if in, out := pointAt(nil, graph.Site{}), pointAt(nil, graph.Site{Output: true}); in != quant.HeadInput || out != quant.HeadOutput {
		t.Errorf("the head has %s and %s", in, out)
	}
}

// TestRounding: a program rounds what a stream rounds, where attention is in float.
func TestRounding(t *testing.T) {
	m, calib := small(t), cut(demoTexts(t, "calib.parquet", 1), 260)
	q := quantized(t, m, "w8a16-mixed", calib)
	for i := range q.Points { // coarse enough to be seen
		q.Points[i].Encoding.Bits, q.Points[i].Encoding.Scales[0] = 8, q.Points[i].Encoding.Scales[0]*256
	}
	faked, _, err := quant.Apply(m, q)
	if err != nil {
		t.Fatal(err)
	}
	e, plain := graph.NewEngine(faked, Rounding(faked, q)), graph.NewEngine(faked, nil)
	for i, l := range faked.Base.Layers {
		own, grads := map[model.Role][]float32{}, map[model.Role][]float32{}
		for role, l := range l.Maps() {
			own[role], grads[role] = l.Weight(), make([]float32, l.In*l.Out)
		}
		list, err := e.Stretches(t.Context(), calib[0].IDs, i, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := list[6]
		same, err := e.Fit(i, &s, s.Output, 1, own, grads)
		if err != nil {
			t.Fatal(err)
		}
		other, err := plain.Fit(i, &s, s.Output, 1, own, grads)
		if err != nil {
			t.Fatal(err)
		}
		if !(same < other/50) {
			t.Errorf("layer %d: the squared distance from the stream is %g with rounding, %g without", i, same, other)
		}
	}
}

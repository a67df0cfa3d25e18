package fit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model"
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

func env(name string, or float64) float64 {
	if v, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
		return v
	}
	return or
}

func TestExperiment(t *testing.T) {
	m := modeltest.Open(t, testfiles.Base(t, "demo"), modeltest.DefaultBlock(t))
	calib, test := demoTexts(t, "calib.parquet", int(env("N", 8))), demoTexts(t, "test.parquet", int(env("NT", 6)))
	seen, err := quant.Calibrate(t.Context(), m, sequence(calib[:2]))
	if err != nil {
		t.Fatal(err)
	}
	scheme, _ := quant.ParseScheme("w8a16")
	q, err := quant.Quantize(m, scheme, quant.RangeMinMax, seen)
	if err != nil {
		t.Fatal(err)
	}
	format := func(name string, head bool) encoding.Format {
		if head {
			return encoding.Format{Bits: 8}
		}
		return encoding.Format{Bits: 4, Block: int(env("BLOCK", 0)), LowPower: env("LP", 0) > 0}
	}
	float := nll(t, m, nil, test)
	r := &quant.Recipe{Weights: quant.RoundNearest, Seed: int64(env("SEED", 1)), Reconstruct: quant.Reconstruct{
		Steps: int(env("STEPS", 200)), Tokens: int(env("TOKENS", 16384)), Batch: int(env("BATCH", 1)), LR: float32(env("LR", 0.02)), ScaleLR: float32(env("SLR", 0.001)),
		Rounding: env("ROUND", 1) > 0, Scales: env("SCALES", 1) > 0,
	}}
	o := quant.RoundOptions{Recipe: r, Samples: func() iter.Seq2[data.Encoded, error] { return sequence(calib) }, Format: format}
	if env("RTN", 1) > 0 {
		if err := quant.RoundWeights(t.Context(), m, q, o); err != nil {
			t.Fatal(err)
		}
		faked, wrap, err := quant.Apply(m, q)
		if err != nil {
			t.Fatal(err)
		}
		rtn := nll(t, faked, wrap, test)
		fmt.Printf("float ppl %.4f, rtn %.4f (+%.2f %%)\n", math.Exp(float), math.Exp(rtn), 100*(math.Exp(rtn-float)-1))
	}
	refine := Reconstruct(m, r, q, nil)
	o.Refine = func(ctx context.Context, l *quant.Layer) error {
		if l.Index == int(env("LAYERS", 8)) {
			return errors.New("enough")
		}
		return refine(ctx, l)
	}
	PullWeight = float32(env("PULL", 1))
	start := time.Now()
	if err := quant.RoundWeights(t.Context(), m, q, o); err != nil {
		fmt.Println(err)
	}
	spent := time.Since(start)
	for _, r := range q.Reconstructed {
		fmt.Printf("%+v\n", r)
	}
	faked, wrap, err := quant.Apply(m, q)
	if err != nil {
		t.Fatal(err)
	}
	fitted := nll(t, faked, wrap, test)
	fmt.Printf("fitted %.4f (+%.2f %%) %.1fs\n", math.Exp(fitted), 100*(math.Exp(fitted-float)-1), spent.Seconds())
}

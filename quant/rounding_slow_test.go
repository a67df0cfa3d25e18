package quant

import (
	"math"
	"testing"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/quant/encoding"
)

// demoData reads samples of the demo's data.
func demoData(t testing.TB, file string, n int) []data.Encoded {
	t.Helper()
	source, err := data.Open("../data/demo/"+file, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	tk, tpl := demoTokenizer(t)
	var list []data.Encoded
	for s, err := range first(source, data.NewEncoder(tk, tpl, 0), min(n, source.Len()), nil) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// loss is the mean negative log-likelihood of each sample's tokens, all but the first.
func loss(t testing.TB, m *model.Model, w model.Wrap, samples []data.Encoded) float64 {
	t.Helper()
	sum, n, vocab := 0.0, 0, m.Base.Head.Out
	for _, s := range samples {
		st := m.NewStream(model.StreamOptions{Wrap: w})
		err := st.Feed(t.Context(), s.IDs, 0, func(first int, hidden []float32) error {
			rows := len(hidden) / m.Base.Head.In
			logits := make([]float32, rows*vocab)
			st.Logits(logits, hidden)
			for i := range rows {
				if next := first + i + 1; next < len(s.IDs) {
					row := logits[i*vocab : (i+1)*vocab]
					sum += logSum(row) - float64(row[s.IDs[next]])
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

func logSum(x []float32) float64 {
	most, sum := math.Inf(-1), 0.0
	for _, v := range x {
		most = max(most, float64(v))
	}
	for _, v := range x {
		sum += math.Exp(float64(v) - most)
	}
	return most + math.Log(sum)
}

// TestSlowRounding compares the rules on the demo base, on text that they have not seen:
// seqmse and gptq lower rtn's perplexity, of one scale a channel and of low-power blocks.
func TestSlowRounding(t *testing.T) {
	testfiles.Slow(t)
	m := demoModel(t)
	calibration, text := demoData(t, "calib.parquet", 3), demoData(t, "test.parquet", 2)
	float := loss(t, m, nil, text)
	for _, f := range []encoding.Format{{Bits: 4}, {Bits: 4, Block: 32, LowPower: true}} {
		q := pointsOf(t, m, w4(f), calibration...)
		losses := map[string]float64{}
		for _, rule := range RoundingNames() {
			recipe := &Recipe{Weights: rule, GPTQ: GPTQ{ActOrder: true}}
			if err := RoundWeights(t.Context(), m, q, RoundOptions{Recipe: recipe, Samples: again(calibration...), Format: formatOf(q.Scheme)}); err != nil {
				t.Fatal(err)
			}
			faked, wrap, err := Apply(m, q)
			if err != nil {
				t.Fatal(err)
			}
			losses[rule] = loss(t, faked, wrap, text)
			t.Logf("%s, %s: perplexity %+.2f %%", f, rule, 100*(math.Exp(losses[rule]-float)-1))
		}
		for _, rule := range []string{RoundSeqMSE, RoundGPTQ} {
			if losses[rule]-float > 0.7*(losses[RoundNearest]-float) {
				t.Errorf("%s: losses %v, %g in float; want %s to add at most 0.7 of what rtn adds", f, losses, float, rule)
			}
		}
	}
}

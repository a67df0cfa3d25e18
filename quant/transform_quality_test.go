package quant

import (
	"context"
	"math"
	"testing"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/modeltest"
	"eisft/quant/encoding"
)

// Schemes that are harder on weights and on activations than any that is shipped.
const testW4, testW8A8 = "test-w4a16", "test-w8a8"

func init() {
	schemes.With(testW4, Scheme{Name: testW4, Weight: encoding.Format{Bits: 4}, Head: encoding.Format{Bits: 8}, Activation: encoding.Format{Bits: 16}, Cache: encoding.Format{Bits: 16}})
	schemes.With(testW8A8, Scheme{Name: testW8A8, Weight: encoding.Format{Bits: 8}, Head: encoding.Format{Bits: 8}, Activation: encoding.Format{Bits: 8}, Cache: encoding.Format{Bits: 8}})
}

// rows encodes the first samples of a data file of the demo, cut to n tokens.
func rows(t testing.TB, file string, samples, n int) []data.Encoded {
	t.Helper()
	source, err := data.Open("../data/demo/"+file, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	tk, tpl := demoTokenizer(t)
	encoder := data.NewEncoder(tk, tpl, 0)
	var all []data.Encoded
	for i := range samples {
		s, err := source.At(i)
		if err != nil {
			t.Fatal(err)
		}
		e, err := encoder.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		ids := e.IDs[max(0, len(e.IDs)-n):]
		all = append(all, data.Encoded{Where: e.Where, IDs: ids})
	}
	return all
}

// textLoss is the mean cross-entropy of a text's tokens, in nats.
func textLoss(t testing.TB, m *model.Model, w model.Wrap, samples []data.Encoded) float64 {
	t.Helper()
	total, n := 0.0, 0
	for _, s := range samples {
		logits := compute(t, m, w, s.IDs, false).logits
		vocab := m.Base.Head.Out
		for i := range len(s.IDs) - 1 {
			row := logits[i*vocab : (i+1)*vocab]
			chosen := float64(row[s.IDs[i+1]])
			sum, shift := kernels.SoftmaxExp(row)
			total += float64(shift) + math.Log(float64(sum)) - chosen
			n++
		}
	}
	return total / float64(n)
}

// roundedLoss is the loss of a model after transforms and rounding.
func roundedLoss(t testing.TB, m *model.Model, r Recipe, seen *Channels, calibration, test []data.Encoded) float64 {
	t.Helper()
	float, folded, err := Transform(t.Context(), m, &r, seen)
	if err != nil {
		t.Fatal(err)
	}
	statistics, err := Calibrate(t.Context(), float, each(calibration...))
	if err != nil {
		t.Fatal(err)
	}
	q, err := Quantize(float, schemes.Get(r.Scheme), RangeMinMax, statistics)
	if err != nil {
		t.Fatal(err)
	}
	q.Folded = folded
	faked, wrap, err := Apply(m, q)
	if err != nil {
		t.Fatal(err)
	}
	if folded != nil {
		for _, n := range folded.Notes {
			t.Log(n)
		}
	}
	return textLoss(t, faked, wrap, test)
}

// TestSlowTransformsHelp: what transforms gain on the demo base over rounding to the nearest,
// on other texts than those that they were chosen from.
func TestSlowTransformsHelp(t *testing.T) {
	testfiles.Slow(t)
	s := modeltest.DefaultBlock(t)
	m := modeltest.Open(t, demo, s)
	calibration, test := rows(t, "calib.parquet", 4, 1024), rows(t, "test.parquet", 6, 1024)
	seen, err := CollectChannels(context.Background(), m, each(calibration...))
	if err != nil {
		t.Fatal(err)
	}
	float := textLoss(t, m, nil, test)
	t.Logf("float: %.4f nats", float)
	rise := map[string]float64{}
	for _, scheme := range []string{testW4, testW8A8} {
		for _, c := range []struct {
			name string
			r    Recipe
		}{
			{"rtn", Recipe{}},
			{"smoothquant", Recipe{Transforms: []string{"smoothquant"}}},
			{"awq", Recipe{Transforms: []string{"awq"}}},
			{"R1 hadamard", Recipe{Transforms: []string{"rotate"}, Rotate: Rotate{R2: "none"}}},
			{"R2 hadamard", Recipe{Transforms: []string{"rotate"}, Rotate: Rotate{R1: "none"}}},
			{"R1, R2 hadamard", Recipe{Transforms: []string{"rotate"}}},
			{"R1 learned", Recipe{Transforms: []string{"rotate"}, Rotate: Rotate{R1: "learned", R2: "none"}}},
			{"R1, R2 learned", Recipe{Transforms: []string{"rotate"}, Rotate: Rotate{R1: "learned", R2: "learned"}}},
			{"R1 learned, awq", Recipe{Transforms: []string{"rotate", "awq"}, Rotate: Rotate{R1: "learned", R2: "none"}}},
			{"R1 learned, smoothquant", Recipe{Transforms: []string{"rotate", "smoothquant"}, Rotate: Rotate{R1: "learned", R2: "none"}}},
		} {
			c.r.Scheme = scheme
			l := roundedLoss(t, m, c.r, seen, calibration, test)
			rise[scheme+", "+c.name] = l - float
			t.Logf("%s, %s: +%.4f nats (perplexity +%.2f %%)", scheme, c.name, l-float, 100*math.Expm1(l-float))
		}
	}
	for _, claim := range []struct {
		better, worse string
		share         float64
	}{
		{testW4 + ", awq", testW4 + ", rtn", 0.9},
		{testW4 + ", R1, R2 learned", testW4 + ", rtn", 0.9},
		{testW4 + ", R1 learned", testW4 + ", R1 hadamard", 0.9},
		{testW8A8 + ", smoothquant", testW8A8 + ", rtn", 0.5},
		{testW8A8 + ", R1 hadamard", testW8A8 + ", rtn", 0.5},
		{testW8A8 + ", R1 learned, smoothquant", testW8A8 + ", rtn", 0.2},
	} {
		if better, worse := rise[claim.better], rise[claim.worse]; !(better < claim.share*worse) {
			t.Errorf("%s costs %.4f nats, more than %g of the %.4f of %s", claim.better, better, claim.share, worse, claim.worse)
		}
	}
}

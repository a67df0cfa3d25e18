package model_test

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// decaying is a small block of one with an MLP whose score decays.
func decaying(t testing.TB) model.Spec {
	s := modeltest.DefaultBlock(t)
	s.Sink, s.Window, s.Segment, s.Slots, s.Memory = 2, 8, 8, 12, model.MemoryNone
	s.Retention = model.Retention{Form: model.RetentionMLP, Hidden: 5, Decay: true}
	return s
}

// openScattered opens the demo base with random retention scores.
func openScattered(t testing.TB, s model.Spec) *model.Model {
	m := modeltest.Open(t, "demo", s)
	r := rand.New(rand.NewPCG(7, 8))
	for _, l := range m.Params.Layers {
		for i := range l.RetentionWeight.Data {
			l.RetentionWeight.Data[i] = float32(r.NormFloat64())
		}
		for i := range l.RetentionBias.Data {
			l.RetentionBias.Data[i] = 3
		}
	}
	return m
}

// TestDecayChooses compares the slots of the first layer, whose scores depend on the tokens
// alone, with a choice by age·log β that is made anew at each commit; calls of any length
// make no difference.
func TestDecayChooses(t *testing.T) {
	m := openScattered(t, decaying(t))
	s, d, base := m.Spec, m.Base.Dims, m.Base
	ids := modeltest.Tokens(m, 90)
	copy(ids[40:], ids[:20]) // the same tokens at other ages
	x := make([]float32, len(ids)*d.Hidden)
	for i, id := range ids {
		base.Embed.Rows(x[i*d.Hidden:(i+1)*d.Hidden], int(id), int(id)+1)
	}
	base.FinishEmbeddings(x)
	base.Layers[0].InputNorm.Apply(x, x)
	rho := make([]float32, len(ids)*d.KVHeads)
	m.Params.Layers[0].TokenScore().Apply(rho, x, len(ids))

	want := make([][]int, d.KVHeads)
	left := s.Sink
	for committed := s.Segment; committed <= len(ids); committed += s.Segment {
		for g := range want {
			for token := left; token < committed-s.Window; token++ {
				want[g] = append(want[g], token)
			}
			value := func(token int) float64 {
				beta := 1 / (1 + math.Exp(-float64(rho[token*d.KVHeads+g])))
				return float64(committed-token) * math.Log(beta)
			}
			slices.SortStableFunc(want[g], func(a, b int) int { return cmp.Compare(value(b), value(a)) })
			want[g] = want[g][:min(s.Slots, len(want[g]))]
			slices.Sort(want[g])
		}
		left = max(left, committed-s.Window)
	}
	for _, cuts := range [][]int{{90}, {30, 1, 1, 40, 18}} {
		st, at := m.NewStream(model.StreamOptions{}), 0
		for _, n := range cuts {
			if err := st.Feed(context.Background(), ids[at:at+n], n, nil); err != nil {
				t.Fatal(err)
			}
			at += n
		}
		parts, l := st.State.Parts(0), st.State.Layers[0]
		for g := range want {
			var got []int
			for row := parts.Sinks; row < parts.Sinks+parts.Slots; row++ {
				got = append(got, int(l.Token[row*d.KVHeads+g]))
			}
			if !slices.Equal(got, want[g]) {
				t.Errorf("calls of %v: head %d keeps %v, want %v", cuts, g, got, want[g])
			}
		}
	}
}

// TestRankAt: ranks order tokens as β^age does, also where that is 1 in float32.
func TestRankAt(t *testing.T) {
	for _, tc := range []struct {
		better, worse       float32
		betterAge, worseAge int
	}{
		{2, 1, 10, 10},
		{2, 2, 10, 11},
		{20, 19, 2, 1},   // 2·e^-20 is below e^-19
		{20, 20.5, 1, 2}, // e^-20 is below 2·e^-20.5
		{-5, -5, 1, 2},
		{100, 99, 1, 1},
		{-1e30, float32(math.NaN()), 1, 1},
	} {
		if a, b := model.RankAt(tc.better, tc.betterAge), model.RankAt(tc.worse, tc.worseAge); a <= b {
			t.Errorf("%g of age %d ranks %d, %g of age %d ranks %d; want more", tc.better, tc.betterAge, a, tc.worse, tc.worseAge, b)
		}
	}
	kept, slope, rest := model.Kept(2, 3)
	beta := 1 / (1 + math.Exp(-2))
	cube := beta * beta * beta
	for i, x := range [][2]float64{{float64(kept), cube}, {float64(rest), 1 - cube}, {float64(slope), 3 * cube * (1 - beta)}} {
		if math.Abs(x[0]-x[1]) > 1e-6 {
			t.Errorf("value %d is %g, want %g", i, x[0], x[1])
		}
	}
	if _, _, rest := model.Kept(20, 1); math.Abs(float64(rest)/math.Exp(-20)-1) > 1e-5 {
		t.Errorf("1-β at ρ = 20 is %g, want %g", rest, math.Exp(-20))
	}
}

// TestMLPScore compares an MLP's scores with its formula.
func TestMLPScore(t *testing.T) {
	m := openScattered(t, decaying(t))
	l, d := &m.Params.Layers[1], m.Base.Dims
	r := rand.New(rand.NewPCG(1, 2))
	h := make([]float32, 3*d.Hidden)
	for i := range h {
		h[i] = float32(r.NormFloat64())
	}
	for i := range l.RetentionHiddenBias.Data {
		l.RetentionHiddenBias.Data[i] = float32(r.NormFloat64())
	}
	got, want := make([]float32, 3*d.KVHeads), make([]float32, 3*d.KVHeads)
	l.TokenScore().Apply(got, h, 3)
	for at := range want {
		t, g := at/d.KVHeads, at%d.KVHeads
		sum := float64(l.RetentionBias.Data[g])
		for n, e := range l.RetentionHiddenBias.Data {
			unit := float64(e)
			for i := range d.Hidden {
				unit += float64(h[t*d.Hidden+i]) * float64(l.RetentionHidden.Data[n*d.Hidden+i])
			}
			sum += unit / (1 + math.Exp(-unit)) * float64(l.RetentionWeight.Data[g*5+n])
		}
		want[at] = float32(sum)
	}
	modeltest.Near(t, "scores", got, want, 1e-5)
}

// TestRetentionAdapter: an adapter keeps form and decay; the linear score without decay is
// written as before there were others.
func TestRetentionAdapter(t *testing.T) {
	for _, s := range []model.Spec{decaying(t), modeltest.DefaultBlock(t)} {
		dir, m := t.TempDir(), openScattered(t, s)
		if err := m.SaveAdapter(dir, "demo"); err != nil {
			t.Fatal(err)
		}
		got, err := model.LoadAdapter(m.Base, dir)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Spec.Equal(s) || got.Params.Identity() != m.Params.Identity() {
			t.Errorf("the adapter has the block %+v, want %+v", got.Spec, s)
		}
		text, err := os.ReadFile(filepath.Join(dir, model.AdapterConfig))
		if err != nil {
			t.Fatal(err)
		}
		if has := strings.Contains(string(text), `"retention"`); has != s.Retention.Decay {
			t.Errorf("adapter_config.json with retention: %v\n%s", has, text)
		}
	}
}

// TestRetentionStarts: β starts near 1 where it decays, and hidden units differ.
func TestRetentionStarts(t *testing.T) {
	d := model.Dims{Heads: 2, KVHeads: 2, HeadDim: 4, Hidden: 8}
	s := decaying(t)
	a, b := model.NewParams(s, d, 2), model.NewParams(s, d, 2)
	if a.Identity() != b.Identity() {
		t.Error("untrained parameters differ from one time to the next")
	}
	if want := 2 * (5*8 + 5 + 2*5 + 2); a.Count() != want {
		t.Errorf("%d parameters, want %d", a.Count(), want)
	}
	v := a.Layers[0].RetentionHidden.Data
	if slices.Equal(v[:8], v[8:16]) || slices.Equal(v, a.Layers[1].RetentionHidden.Data) {
		t.Error("hidden units start alike")
	}
	for _, p := range a.Zero().List() {
		if slices.ContainsFunc(p.Data, func(x float32) bool { return x != 0 }) {
			t.Errorf("room for gradients of %s is not zero", p.Name)
		}
	}
	if kept, _, _ := model.Kept(a.Layers[0].RetentionBias.Data[0], 100); kept < 0.95 {
		t.Errorf("a token of age 100 starts by being kept by %g", kept)
	}
	linear := modeltest.DefaultBlock(t)
	if c := model.NewParams(linear, d, 1).Layers[0].RetentionBias.Data[0]; c != 0 {
		t.Errorf("the linear score without decay starts at %g", c)
	}
	named := linear
	named.Retention.Form = model.RetentionLinear
	if !named.Equal(linear) || named.Difference(s) == "" {
		t.Errorf("differences %q and %q", named.Difference(linear), named.Difference(s))
	}
}

// TestPrunedAs: what pruning leaves of a block is what another block is held to, however its
// tokens are scored.
func TestPrunedAs(t *testing.T) {
	whole := modeltest.DefaultBlock(t)
	whole.Retention = model.Retention{Form: model.RetentionMLP, Hidden: 4}
	m := modeltest.Open(t, "demo", whole)
	for _, layers := range [][]int{nil, {0}} {
		pruned, err := m.KeepSlots(layers)
		if err != nil {
			t.Fatal(err)
		}
		if d := whole.PrunedAs(pruned.Spec).Difference(pruned.Spec); d != "" {
			t.Errorf("slots in layers %v: %s", layers, d)
		}
	}
}

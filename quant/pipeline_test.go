package quant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/ranks"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/quant/encoding"
)

// TestJobMeasures: mixed precision promotes the maps that gain most, as few as keep the loss,
// and what it chose is what is written.
func TestJobMeasures(t *testing.T) {
	j := demoJob(t)
	j.Evaluation.Data = nil
	j.Recipe = &Recipe{
		Name: "m", Scheme: "w4a16", Ranges: RangeMinMax, Weights: RoundNearest, Sensitivity: 24, Cache: CacheAuto,
		Mixed: Mixed{MaxLossIncrease: 10, MaxBytes: 7_400_000},
	}
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Sensitivity.Maps); n != 57 || len(r.Sensitivity.Layers) != 8 || r.Sensitivity.Tokens != 24 || len(r.Cache.Widths) != 16 {
		t.Errorf("%d maps, %d layers, %d tokens, %d widths", n, len(r.Sensitivity.Layers), r.Sensitivity.Tokens, len(r.Cache.Widths))
	}
	if len(r.Mixed.Promoted) != 0 { // 10 nats are more than anything costs
		t.Errorf("promoted %q", r.Mixed.Promoted)
	}
	f := r.Mixed.Frontier
	if !slices.IsSortedFunc(f, func(a, b FrontierPoint) int { return a.Bytes - b.Bytes }) || f[0].Promoted != 0 || !f[0].Chosen {
		t.Errorf("frontier %+v", f)
	}
	if f[0].Bytes != r.Size.After {
		t.Errorf("the frontier begins at %d bytes, the model has %d", f[0].Bytes, r.Size.After)
	}
	// without a bound of the loss, as many as there is room for
	j.Recipe.Mixed = Mixed{MaxBytes: 7_400_000}
	if r, err = j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	q, err := Load(j.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Mixed.Promoted) == 0 || r.Size.After > 7_400_000 || r.Size.After < 7_250_000 {
		t.Errorf("%d maps promoted, %d bytes", len(r.Mixed.Promoted), r.Size.After)
	}
	for _, m := range r.Sensitivity.Maps { // small maps take the room that a larger one leaves
		if m.Promote > 0 && m.Increase > 0 && !slices.Contains(r.Mixed.Promoted, m.Name) && r.Size.After+m.Promote <= 7_400_000 {
			t.Errorf("there is room for %s: %d bytes and %d", m.Name, r.Size.After, m.Promote)
		}
	}
	for _, w := range q.Weights {
		if want := slices.Contains(r.Mixed.Promoted, w.Name) || w.Name == HeadName; want != (w.Bits == 8) {
			t.Errorf("%s has %d bits", w.Name, w.Bits)
		}
	}
}

// TestMixedBy: maps are promoted by the loss that the recipe names, and the same loss bounds how
// many are.
func TestMixedBy(t *testing.T) {
	j := demoJob(t)
	maps := []MapSensitivity{
		{Name: "model.layers.0.mlp.up_proj", Bits: 4, Cost: Cost{0.3, -0.1}, Promote: 10},
		{Name: "model.layers.1.mlp.up_proj", Bits: 4, Cost: Cost{0.2, 0.1}, Promote: 10},
		{Name: "model.layers.2.mlp.up_proj", Bits: 4, Cost: Cost{0.1, 0.4}, Promote: 10},
		{Name: "model.layers.3.mlp.up_proj", Bits: 4, Cost: Cost{-0.1, 0.25}, Promote: 5},
	}
	for by, want := range map[Loss]string{LossOfText: "012", LossOfAnswers: "321"} {
		f := newFrontier(&pipeline{job: j, recipe: &Recipe{Mixed: Mixed{By: by}}}, &made{sensitivity: &SensitivityReport{Maps: maps}})
		got := ""
		for _, m := range f.order {
			got += m.Name[len("model.layers."):][:1]
		}
		if got != want {
			t.Errorf("by %s: layers %s, want %s", by, got, want)
		}
		f.recipe.Mixed.MaxLossIncrease = 0.15
		for n, c := range []Cost{{0.5, 0.3}, {0.3, 0.2}, {0.1, 0.16}, {0, 0.1}} {
			f.points[n] = FrontierPoint{Promoted: n, Cost: c}
		}
		f.line = (&probe{job: j}).start("frontier", 4)
		defer f.line.End()
		r := &MixedReport{}
		if n, err := f.choose(t.Context(), r, 3); err != nil || n != map[Loss]int{LossOfText: 2, LossOfAnswers: 3}[by] || r.Warnings != nil {
			t.Errorf("by %s: %d maps are promoted (%v), %q", by, n, err, r.Warnings)
		}
	}
	p := &pipeline{job: j, recipe: &Recipe{Mixed: Mixed{By: LossOfAnswers}}, probe: &probe{count: 7}}
	if _, err := p.mix(t.Context(), &made{}); err == nil || !strings.Contains(err.Error(), "mixed.by is answers, but none of the 7 tokens of ") {
		t.Errorf("without answers: %v", err)
	}
	frontier := []FrontierPoint{{Cost: Cost{0.5, 0.25}, Chosen: true}, {Bytes: 9, Cost: Cost{0.1, 0.2}}}
	for by, want := range map[Loss]string{LossOfText: "+500.00", LossOfAnswers: "+250.00"} {
		if dot := (&MixedReport{By: by, Frontier: frontier}).plot().Lines[0].Points[0].Label; !strings.Contains(dot, want) {
			t.Errorf("by %s: plotted as %s, want %s", by, dot, want)
		}
	}
}

// TestVariants: an ablation goes from rounding to nearest to the recipe itself, a method a
// step.
func TestVariants(t *testing.T) {
	r := Recipe{
		Scheme: "w4a16", Weights: RoundGPTQ, Transforms: []string{"awq", "rotate"}, Reconstruct: Reconstruct{Steps: 3},
		Mixed: Mixed{MaxBytes: 5}, Sensitivity: 7,
	}
	var got []string
	list := r.variants()
	for _, v := range list {
		got = append(got, v.what)
	}
	if want := "rtn, + awq, + rotate, + gptq, + reconstruct, + mixed precision"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %s", got, want)
	}
	if v := list[1].recipe; len(v.Transforms) != 1 || v.Weights != RoundNearest || v.Reconstruct.Steps != 0 || v.Sensitivity != 0 {
		t.Errorf("%+v", v)
	}
	last, _ := json.Marshal(list[5].recipe)
	if whole, _ := json.Marshal(r); string(last) != string(whole) {
		t.Errorf("the last variant is %s, want %s", last, whole)
	}
}

// TestJobAblation measures every step on the same text.
func TestJobAblation(t *testing.T) {
	j := demoJob(t)
	j.Recipe = &Recipe{Name: "a", Scheme: "w4a16", Ranges: RangeMinMax, Weights: "mse-clip"}
	j.Ablation, j.Evaluation.MaxNewTokens = true, 1
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := r.Ablation.Steps
	if len(s) != 2 || s[0].What != "rtn" || s[1].What != "+ mse-clip" || s[0].Perplexity == s[1].Perplexity {
		t.Fatalf("%+v", s)
	}
	if text := r.Evaluation.Compared("perplexity/text"); text.Change.After != s[1].Perplexity || text.N != r.Ablation.Tokens || text.Difference != s[1].Increase {
		t.Errorf("%+v, the whole recipe %+v", s[1], text)
	}
	if gain := s[0].Increase.Value - s[1].Increase.Value; gain-s[1].Gain.Value > 1e-9 || s[1].Gain.Value-gain > 1e-9 {
		t.Errorf("gain %g, want %g", s[1].Gain.Value, gain)
	}
}

// TestJobResumes: a job that is stopped while weights are rounded leaves the folder as it was
// and goes on later; its report and its weights are those of one that was not stopped, and
// what is kept for that is gone afterwards.
func TestJobResumes(t *testing.T) {
	j := demoJob(t)
	j.Evaluation.Data = nil
	j.Recipe = &Recipe{
		Name: "w4a16", Scheme: "w4a16", Ranges: RangeMinMax, Weights: RoundNearest,
		Reconstruct: Reconstruct{Steps: 1, Tokens: 1, Batch: 1, LR: 0.1, ScaleLR: 0.1, Rounding: true},
	}
	calls, stop := 0, func() {}
	j.Reconstruct = func(_ *model.Model, _ *Recipe, q *Quantized, _ io.Writer) func(context.Context, *Layer) error {
		return func(_ context.Context, l *Layer) error {
			if calls++; calls == 3 {
				stop()
			}
			l.Weights[model.RoleUp].Codes[0] ^= 1
			gain := 1 / float64(3+l.Index)
			q.Reconstructed = append(q.Reconstructed, Reconstructed{Layer: l.Index, Held: 7, Rounded: 2 * gain, Fitted: gain, Kept: l.Index%2 == 0})
			return nil
		}
	}
	run := func(ctx context.Context, name string) (*Report, []byte, error) {
		j.Dir = filepath.Join(filepath.Dir(j.Dir), name)
		r, err := j.Run(ctx)
		if err != nil {
			return nil, nil, err
		}
		weights, err := os.ReadFile(filepath.Join(j.Dir, WeightsFile))
		return r, weights, err
	}
	want, wantWeights, err := run(t.Context(), "whole")
	if err != nil {
		t.Fatal(err)
	}
	layers := len(j.Model.Base.Layers)
	if len(want.Reconstructed) != layers {
		t.Errorf("%d layers were reconstructed, want %d", len(want.Reconstructed), layers)
	}
	if err := os.RemoveAll(j.Dir); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	calls, stop = 0, cancel
	if _, _, err := run(ctx, "w4a16"); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	wantFiles(t, filepath.Dir(j.Dir), filepath.Base(j.partial(stageFirst)))
	have, haveWeights, err := run(t.Context(), "w4a16")
	if err != nil {
		t.Fatal(err)
	}
	if calls <= layers-1 || calls >= layers+3 {
		t.Errorf("%d layers were fitted in all, want each of %d once, and what was stopped again", calls, layers)
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("the report is another one:\n%+v\nwant\n%+v", have, want)
	}
	page, err := os.ReadFile(filepath.Join(j.Dir, PageFile))
	for _, want := range []string{"<h2>Reconstruction</h2>", "<tr><td>0</td><td>7</td><td>0.6667</td><td>0.3333</td><td>yes</td></tr>", "no: it was not better"} {
		if err != nil || !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page has no %q (%v)", want, err)
		}
	}
	if !bytes.Equal(haveWeights, wantWeights) {
		t.Error("the weights are others")
	}
	wantFiles(t, filepath.Dir(j.Dir), "w4a16")
}

// TestFormatBytes: planned sizes are those of weights.
func TestFormatBytes(t *testing.T) {
	for _, name := range SchemeNames() {
		f := schemes.Get(name).Weight
		l := model.NewLinear("w", 128, 6, normal(128*6, 1), nil)
		w, err := (&Map{Name: "w", Matrix: l.Weight(), Out: l.Out, In: l.In, Format: f}).nearest()
		if err != nil {
			t.Fatal(err)
		}
		if got := formatBytes(f, l.Out, l.In); got != w.Bytes() {
			t.Errorf("%s: planned %d bytes, has %d", f, got, w.Bytes())
		}
	}
}

// TestProbeAnswers: the loss of right answers is measured beside that of all tokens, and what a
// map costs them is shown.
func TestProbeAnswers(t *testing.T) {
	j := demoJob(t)
	p := &probe{job: j, float: j.Model, tokens: math.MaxInt}
	if err := p.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	answers := func(m *model.Model) (loss float64, tokens int) {
		for s, err := range j.each() {
			if err != nil {
				t.Fatal(err)
			}
			if len(s.IDs) <= p.from {
				continue
			}
			at := max(p.from, s.Turns[0].Start)
			answer := data.Encoded{IDs: s.IDs[:s.Turns[0].End]}
			l, err := eval.Text(t.Context(), m, model.StreamOptions{}, answer, at)
			if err != nil {
				t.Fatal(err)
			}
			loss, tokens = loss+l.NLL, tokens+l.Tokens
		}
		return loss / float64(tokens), tokens
	}
	want, tokens := answers(j.Model)
	if got := p.probed(); tokens == 0 || got.Answers != tokens || math.Abs(got.AnswersLoss-want) > 1e-4 || got.Tokens <= tokens {
		t.Fatalf("%+v, want answers of %d tokens that lose %g", got, tokens, want)
	}
	halved, err := p.with(func(name string, l *model.Linear) *Weight {
		if name != "model.layers.3.mlp.up_proj" {
			return nil
		}
		w, err := nearest(l, encoding.Format{Bits: 8})
		if err != nil {
			t.Fatal(err)
		}
		kernels.Scale(0.5, w.Scales)
		return w
	})
	if err != nil {
		t.Fatal(err)
	}
	cost, err := p.increase(t.Context(), ranks.Alone{}, halved, nil)
	if rise, _ := answers(halved); err != nil || cost.Answers == 0 || cost.Answers == cost.Increase || math.Abs(cost.Answers-(rise-want)) > 1e-4 {
		t.Errorf("%+v, %v; want a rise of %g", cost, err, rise-want)
	}
	s := &SensitivityReport{Probed: p.probed(), Layers: []LayerSensitivity{{0, cost}}}
	if plots := s.plots(); len(plots) != 2 || !strings.Contains(plots[1].Text, fmt.Sprintf("right answers alone, %d of", tokens)) {
		t.Errorf("%d plots", len(plots))
	}
	if s.Answers = 0; len(s.plots()) != 1 {
		t.Error("answers are shown where there are none")
	}
}

// TestCompareNothing: answers to no question that was asked both times are no figure.
func TestCompareNothing(t *testing.T) {
	e := &Evaluation{}
	e.Scores.Before = &eval.Result{Answers: []eval.Answer{{Where: "a", Tokens: 1}}}
	e.Scores.After = &eval.Result{Answers: []eval.Answer{{Where: "b", Tokens: 1}}}
	if e.compare(textLosses{}); len(e.Comparisons) > 0 {
		t.Errorf("compared %+v", e.Comparisons)
	}
}

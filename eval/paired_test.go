package eval

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// asks makes a result of conversations with so many questions each; em says what is
// answered.
func asks(rows, each int, em func(row, turn int) float64) *Result {
	r := &Result{Reading: Reading{Policy: PolicyWindow}}
	for row := range rows {
		for turn := range each {
			v := em(row, turn)
			r.Answers = append(r.Answers, Answer{
				Where: fmt.Sprint(row), Turn: turn, Distance: -1, PromptSHA256: PromptSHA256([]int32{int32(row), int32(turn)}),
				Metrics: figures(v, v), NLL: 2 - v, Tokens: 1,
			})
		}
	}
	r.score()
	return r
}

// TestIntervalsAreOfConversations: ten questions of each conversation that all have the same
// answer say no more than one of each.
func TestIntervalsAreOfConversations(t *testing.T) {
	third := func(row, _ int) float64 { return float64(min(1, row%3)) }
	one, ten := asks(30, 1, third).Score(All), asks(30, 10, third).Score(All)
	if ten.N != 300 || ten.Rows != 30 || one.Rows != 30 {
		t.Errorf("%d questions in %d conversations", ten.N, ten.Rows)
	}
	for name, want := range one.Intervals {
		if got := ten.Intervals[name]; math.Abs(got.Lo-want.Lo) > 1e-12 || math.Abs(got.Hi-want.Hi) > 1e-12 || got.Hi-got.Lo < 0.3 {
			t.Errorf("%s: %+v with ten questions each, %+v with one", name, got, want)
		}
	}
	if len(one.Intervals) != 3 {
		t.Errorf("intervals %v, want those of two metrics and of the perplexity", one.Intervals)
	}
}

// TestDifferencesArePaired: what makes a conversation hard under both policies is no
// difference, whatever the order of the answers.
func TestDifferencesArePaired(t *testing.T) {
	half := func(row, _ int) float64 { return float64(row % 2) }
	a := asks(40, 2, half)
	b := asks(40, 2, func(row, turn int) float64 {
		if row < 16 && row%2 == 0 && turn == 0 { // 8 conversations in which one question more is answered
			return 1
		}
		return half(row, turn)
	})
	slices.Reverse(b.Answers)
	r := &Report{Results: []*Result{a, b}}
	b.Policy = PolicyEdgeInfinite
	r.compare(PolicyWindow)
	c := r.Differences[0].Buckets[0].Changes["em"]
	if math.Abs(c.Difference.Value-0.1) > 1e-12 || c.Rows != 40 || c.Differ != 8 || !c.BeyondChance {
		t.Errorf("difference %+v, want 0.1, in 8 of 40 conversations", c)
	}
	if c.Difference.Lo < 0.02 || c.Difference.Hi > 0.2 || c.Before.Hi-c.Before.Lo < 0.25 {
		t.Errorf("the interval of the difference is %+v, that of one policy %+v; want a much narrower one", c.Difference, c.Before)
	}
	loss := r.Differences[0].Buckets[0].Changes[PerplexityName]
	if math.Abs(loss.Difference.Value-math.Expm1(-0.1)) > 1e-12 || !loss.BeyondChance {
		t.Errorf("perplexity %+v, want a relative change", loss)
	}
}

// TestBeyondChance: five conversations that differ alike may do so by chance, six hardly.
func TestBeyondChance(t *testing.T) {
	for _, tc := range []struct {
		differ, back int
		want         bool
	}{{5, 0, false}, {6, 0, true}, {6, 6, false}, {0, 0, false}, {30, 1, true}} {
		var p Paired
		for i := range 40 {
			before, after := 0.0, 0.0
			if i < tc.differ {
				after = 1
			} else if i < tc.differ+tc.back {
				before = 1
			}
			p.Add(before, after, 1)
		}
		if c := p.Means(); c.BeyondChance != tc.want || c.Differ != tc.differ+tc.back {
			t.Errorf("%d better and %d worse of 40: %+v, want beyond chance: %v", tc.differ, tc.back, c, tc.want)
		}
	}
}

// TestSeedsAreNoQuestions: three seeds of the same questions are as many questions, and
// figures are means over seeds.
func TestSeedsAreNoQuestions(t *testing.T) {
	r := asks(20, 1, func(row, _ int) float64 { return float64(row % 2) })
	one := r.Score(All)
	r.merge(asks(20, 1, func(row, _ int) float64 { return float64(row % 2) }))
	r.merge(asks(20, 1, func(row, _ int) float64 { return 1 }))
	got := r.Score(All)
	if r.Seeds != 3 || len(r.Answers) != 60 || got.N != 20 || got.Rows != 20 || math.Abs(got.Metrics["em"]-(0.5+0.5+1)/3) > 1e-12 || math.Abs(got.NLL-(1.5+1.5+1)/3) > 1e-12 {
		t.Errorf("%d seeds: %+v, one has %+v", r.Seeds, got, one)
	}
	if r.Title() != "window, 3 seeds" {
		t.Errorf("title %q", r.Title())
	}
}

// TestMetricsOfSomeQuestions: a metric is the mean over the questions that have it.
func TestMetricsOfSomeQuestions(t *testing.T) {
	r := asks(4, 1, func(int, int) float64 { return 1 })
	delete(r.Answers[0].Metrics, MetricF1)
	r.Answers[1].Metrics[MetricF1] = 0
	r.score()
	if s := r.Score(All); math.Abs(s.Metrics[MetricF1]-2.0/3) > 1e-12 || s.Metrics[MetricExactMatch] != 1 || s.N != 4 {
		t.Errorf("%+v", s)
	}
}

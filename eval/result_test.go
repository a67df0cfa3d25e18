package eval

import (
	"math"
	"strings"
	"testing"
)

func TestMetrics(t *testing.T) {
	for _, tc := range []struct {
		text     string
		accepted []string
		em, f1   float64
	}{
		{"87,200 dollars", []string{"87,200 dollars"}, 1, 1},
		{" 87,200 dollars\n", []string{"87,200 dollars "}, 1, 1},
		{"87,200 Dollars.", []string{"87,200 dollars"}, 0, 1},
		{"87200 dollars", []string{"87,200 dollars"}, 0, 1},
		{"68,300 dollars", []string{"87,200 dollars"}, 0, 0.5},
		{"the red, red rose", []string{"a red rose"}, 0, 0.8}, // 2 of 3 and 2 of 2
		{"red", []string{"blue", "red"}, 1, 1},
		{"", []string{"red"}, 0, 0},
		{"", []string{"the"}, 0, 1},
		{"", []string{""}, 1, 1},
		{"nothing", nil, 0, 0},
		{"naïve ÉCOLE", []string{"Naïve école"}, 0, 1},
	} {
		if em, f1 := ExactMatch(tc.text, tc.accepted), F1(tc.text, tc.accepted); em != tc.em || math.Abs(f1-tc.f1) > 1e-12 {
			t.Errorf("%q for %q: EM %v, F1 %v; want %v, %v", tc.text, tc.accepted, em, f1, tc.em, tc.f1)
		}
	}
}

func TestScoresAndTable(t *testing.T) {
	r := &Result{Policy: PolicyWindow, Speed: Speed{ReadTokens: 4000, ReadSeconds: 2, WrittenTokens: 30, WriteSeconds: 0.5}}
	r.Answers = []Answer{
		{Distance: 0, EM: 1, F1: 1, NLL: 2, Tokens: 4},
		{Distance: 249, EM: 0, F1: 0.5, NLL: 6, Tokens: 4},
		{Distance: 250, F1: 0.25, NLL: 1, Tokens: 2},
		{Distance: 600, EM: 1, F1: 0.75, NLL: 1, Tokens: 2},
		{Distance: 601, NLL: 8, Tokens: 8},
		{Distance: -1, EM: 1, F1: 1, NLL: 2, Tokens: 5},
	}
	r.score()
	for _, want := range []Score{
		{Near, 2, 0.5, 0.75, 1, math.E},
		{Mid, 2, 0.5, 0.5, 0.5, math.Exp(0.5)},
		{Far, 1, 0, 0, 1, math.E},
		{All, 6, 0.5, 3.5 / 6, 0.8, math.Exp(0.8)},
	} {
		if got := r.Score(want.Bucket); got != want {
			t.Errorf("score %+v, want %+v", got, want)
		}
	}
	var out strings.Builder
	if err := WriteTable(&out, []*Result{r, {Policy: PolicyFull}}); err != nil {
		t.Fatal(err)
	}
	want := `policy  fact  tokens back  n  EM    F1    perplexity  read tokens/s  written tokens/s
window  near  < 250        2  0.50  0.75  2.72
        mid   250-600      2  0.50  0.50  1.65
        far   > 600        1  0.00  0.00  2.72
        all                6  0.50  0.58  2.23        2000           60
`
	if got := trimLines(out.String()); got != want {
		t.Errorf("table\n%swant\n%s", got, want)
	}
}

// trimLines drops the padding at the end of lines.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

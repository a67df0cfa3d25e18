package eval

import (
	"encoding/json"
	"math"
	"reflect"
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
		{"", []string{"the"}, 0, 0},
		{"", []string{""}, 1, 0},
		{"nothing", nil, 0, 0},
		{"naïve ÉCOLE", []string{"Naïve école"}, 0, 1},
	} {
		got := figuresOf(tc.text, Right{Answers: tc.accepted})
		if em, f1 := got[MetricExactMatch], got[MetricF1]; em != tc.em || math.Abs(f1-tc.f1) > 1e-12 {
			t.Errorf("%q for %q: %v; want %v, %v", tc.text, tc.accepted, got, tc.em, tc.f1)
		}
	}
}

// figures are those of an answer or of a score.
func figures(em, f1 float64) Figures { return Figures{MetricExactMatch: em, MetricF1: f1} }

// answered is what a policy answers to six questions.
func answered() *Result {
	r := &Result{
		Reading: Reading{Policy: PolicyWindow}, Bounds: Bounds{NearBelow: 256, FarAbove: 512},
		Speed: Speed{ReadTokens: 4000, ReadSeconds: 2, WrittenTokens: 30, WriteSeconds: 0.5},
	}
	r.Answers = []Answer{
		{Where: "a", Distance: 0, Metrics: figures(1, 1), NLL: 2, Tokens: 4},
		{Where: "b", Distance: 255, Metrics: figures(0, 0.5), NLL: 6, Tokens: 4},
		{Where: "c", Distance: 256, Metrics: figures(0, 0.25), NLL: 1, Tokens: 2},
		{Where: "d", Distance: 512, Metrics: figures(1, 0.75), NLL: 1, Tokens: 2},
		{Where: "e", Distance: 513, Metrics: figures(0, 0), NLL: 8, Tokens: 8},
		{Where: "f", Distance: -1, Metrics: figures(1, 1), NLL: 2, Tokens: 5},
	}
	r.score()
	return r
}

func TestScoresAndTable(t *testing.T) {
	r := answered()
	r.Budget = Budget{Tokens: 4160, Bytes: 4 << 20}
	for _, want := range []Score{
		{Bucket: Near, N: 2, Rows: 2, Metrics: figures(0.5, 0.75), NLL: 1, Perplexity: math.E},
		{Bucket: Mid, N: 2, Rows: 2, Metrics: figures(0.5, 0.5), NLL: 0.5, Perplexity: math.Exp(0.5)},
		{Bucket: Far, N: 1, Rows: 1, Metrics: figures(0, 0), NLL: 1, Perplexity: math.E},
		{Bucket: All, N: 6, Rows: 6, Metrics: figures(0.5, 3.5/6), NLL: 0.8, Perplexity: math.Exp(0.8)},
	} {
		got := r.Score(want.Bucket)
		if (len(got.Intervals) == 0) != (got.Rows == 1) {
			t.Errorf("%s: intervals %v of %d conversations", want.Bucket, got.Intervals, got.Rows)
		}
		if got.Intervals = nil; !reflect.DeepEqual(got, want) {
			t.Errorf("score %+v, want %+v", got, want)
		}
	}
	wantTable(t, []*Result{r, {Reading: Reading{Policy: PolicyFull}}}, `policy  fact  tokens back  n  EM                F1                perplexity        tokens kept  bytes   read tokens/s  written tokens/s
window  near  < 256        2  0.50 (0.00–1.00)  0.75 (0.50–1.00)  2.72 (1.65–4.48)
        mid   256-512      2  0.50 (0.00–1.00)  0.50 (0.25–0.75)  1.65 (1.65–1.65)
        far   > 512        1  0.00              0.00              2.72
        all                6  0.50 (0.17–0.83)  0.58 (0.29–0.88)  2.23 (1.57–3.05)  4,160        4.2 MB  2000           60
`)
}

func wantTable(t *testing.T, results []*Result, want string) {
	t.Helper()
	var out strings.Builder
	if err := WriteTable(&out, results); err != nil {
		t.Fatal(err)
	}
	if got := trimLines(out.String()); got != want {
		t.Errorf("table\n%swant\n%s", got, want)
	}
}

// TestResultFile: metrics stand in a file under keys of their own, as in files that
// earlier versions wrote, and what is written is read again.
func TestResultFile(t *testing.T) {
	r := answered()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"tokens_back":{"near_below":256,"far_above":512}`,
		`{"bucket":"near","n":2,"rows":2,"nll":1,"perplexity":2.718281828459045,"intervals":{"em":{"lo":0,"hi":1},"f1":{"lo":0.5,"hi":1},"perplexity":`,
		`"nll":6,"tokens":4,"em":0,"f1":0.5}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
	var again *Result
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("read back %+v (%v), want %+v", again, err, r)
	}

	earlier := `{"policy":"window","scores":[
		{"bucket":"near","n":11,"em":0.91,"f1":0.95,"nll":0.5,"perplexity":1.65},
		{"bucket":"all","n":11,"em":0.91,"nll":0.5,"perplexity":1.65}],"speed":{},
		"answers":[{"where":"a","turn":0,"distance":240,"prompt_tokens":9,"accepted":["x"],"answer":"x","em":1,"f1":1,"nll":0.1,"tokens":2}]}`
	again = nil
	if err := json.Unmarshal([]byte(earlier), &again); err != nil {
		t.Fatal(err)
	}
	if a := again.Answers[0]; a.Distance != 240 || a.Text != "x" || !reflect.DeepEqual(a.Metrics, figures(1, 1)) {
		t.Errorf("answer %+v", a)
	}
	wantTable(t, []*Result{again}, `policy  fact  tokens back  n   EM    F1    perplexity  tokens kept  bytes  read tokens/s  written tokens/s
window  near               11  0.91  0.95  1.65
        all                11  0.91  –     1.65                            0              0
`)
	for _, bad := range []string{`{"scores":[{"em":"high"}]}`, `{"answers":[{"f1":[1]}]}`, `{"answers":[1]}`} {
		if err := json.Unmarshal([]byte(bad), &Result{}); err == nil {
			t.Errorf("%s was read", bad)
		}
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

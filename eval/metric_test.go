package eval

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestMetricsAsPublished: every metric gives what the formulas of the published scorers
// give, as scripts/reference/metrics.py has written it down.
func TestMetricsAsPublished(t *testing.T) {
	text, err := os.ReadFile("testdata/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Metric           Metric
		Text             string
		Answers, Classes []string
		Score            float64
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	between := map[Metric]int{} // cases that are neither wrong nor right
	seen := map[Metric]int{}
	for _, c := range cases {
		seen[c.Metric]++
		if c.Score > 0 && c.Score < 1 {
			between[c.Metric]++
		}
		if got := metrics.Get(c.Metric).score(c.Text, Right{c.Answers, c.Classes}); !(math.Abs(got-c.Score) <= 1e-12) { // a score that is no number, too
			t.Errorf("%s of %q for %q: %v, want %v", c.Metric, c.Text, c.Answers, got, c.Score)
		}
	}
	for _, m := range AllMetrics() {
		if seen[m] < 30 || between[m] < 5 && m != MetricExactMatch && m != MetricMatchAny {
			t.Errorf("%s has %d cases, %d of them between 0 and 1", m, seen[m], between[m])
		}
	}
}

package eval

import (
	"math"
	"strings"
	"testing"
)

// TestParts: what borders of parts belong to.
func TestParts(t *testing.T) {
	commits := map[int]string{0: "0", 1: "1", 2: "2", 3: "3-4", 4: "3-4", 5: "5-8", 8: "5-8", 9: "9-16", 17: "17-32"}
	for n, want := range commits {
		if p, ok := byCommits(Answer{Commits: n}); !ok || p.name != want {
			t.Errorf("%d commits are %q, want %q", n, p.name, want)
		}
	}
	for n, want := range map[int]string{1: "1-1", 63: "32-63", 64: "64-127", 127: "64-127", 128: "128-255"} {
		if p, ok := byDistance(Answer{Distance: n}); !ok || p.name != want {
			t.Errorf("%d tokens back are %q, want %q", n, p.name, want)
		}
	}
	for n, want := range map[int]string{1: "0-4k", 3999: "0-4k", 4000: "4-8k", 7999: "4-8k", 8000: "8k+"} {
		if p, ok := byLength(Answer{About: About{Length: n}}); !ok || p.name != want {
			t.Errorf("length %d is %q, want %q", n, p.name, want)
		}
	}
	for n, want := range map[float64]int{0: 0, 0.0999: 0, 0.1: 1, 0.3: 3, 0.95: 9, 1: 9} {
		if got := tenth(Answer{Depth: &n}); got != want {
			t.Errorf("depth %g is tenth %d, want %d", n, got, want)
		}
	}
	unknown := Answer{Distance: -1, Commits: -1}
	for name, of := range map[string]func(Answer) (piece, bool){"commits": byCommits, "distance": byDistance, "length": byLength} {
		if _, ok := of(unknown); ok {
			t.Errorf("%s: what is not known has a part", name)
		}
	}
}

// TestDivided: tables of tasks, of a grid and of recall say what the answers say, whichever
// order they come in.
func TestDivided(t *testing.T) {
	answer := func(where, dataset string, length int, depth float64, distance, commits int, score float64) Answer {
		return Answer{
			Where: where, Distance: distance, Commits: commits, Depth: &depth,
			Metrics: Figures{MetricExactMatch: 0, MetricF1: 0, MetricMatchAll: score}, Tokens: 1, About: About{Dataset: dataset, Length: length, Metric: MetricMatchAll},
		}
	}
	r := &Report{Results: []*Result{{Reading: Reading{Policy: PolicyFull}, Answers: []Answer{
		answer("d", "needle", 8192, 0.95, 100, 1, 0.5),
		answer("a", "needle", 2048, 0.05, 2000, 7, 1),
		answer("b", "needle", 2048, 0.05, 2000, 7, 0),
		answer("c", "needle", 4096, 0.05, 90, 0, 1),
		answer("e", "pairs", 5000, 0.55, -1, -1, 0.25),
	}}}}
	r.divide()
	if got := r.Tasks[0]; got.Dataset != "needle" || got.N != 4 || math.Abs(got.Score-0.625) > 1e-12 || got.Interval == nil || r.Tasks[1].Interval != nil {
		t.Errorf("tasks %+v", got)
	}
	var out strings.Builder
	if err := writeTables(&out, r.dividedTables()); err != nil {
		t.Fatal(err)
	}
	want := `tasks, scores of 100
policy  dataset  metric     n  score               0-4k                 4-8k    8k+
full    needle   match-all  4  62.50 (25.0–100.0)  50.00 (0.0–100.0)  100.00  50.00
full    pairs    match-all  1  25.00               –                    25.00   –
`
	if got := trimLines(out.String()); !strings.HasPrefix(squeeze(got), squeeze(want)) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for _, table := range []string{
		"full, needle: score by length and by depth of the fact\nlength 0-10 % 90-100 %\n2048 0.50 of 2 –\n4096 1.00 of 1 –\n8192 – 0.50 of 1\n",
		"score by tokens from the fact to the answer\npolicy 64-127 1024-2047\nfull 0.75 of 2 0.50 of 2\n",
		"score by segments committed since the fact\npolicy 0 1 5-8\nfull 1.00 of 1 0.50 of 1 0.50 of 2\n",
	} {
		if !strings.Contains(squeeze(out.String()), table) {
			t.Errorf("there is no\n%s\nin\n%s", table, out.String())
		}
	}
}

// squeeze makes one space of several.
func squeeze(s string) string {
	var lines []string
	for line := range strings.SplitSeq(s, "\n") {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

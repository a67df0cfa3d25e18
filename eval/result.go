package eval

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Score is the mean over the questions of a bucket.
type Score struct {
	Bucket  Bucket  `json:"bucket"`
	N       int     `json:"n"`              // questions
	Rows    int     `json:"rows,omitempty"` // conversations; earlier versions wrote none
	Metrics Figures `json:"-"`              // in a file beside the others: em, f1
	// NLL is the mean over the tokens of the right answers, in nats;
	// Perplexity is its exponential.
	NLL        float64 `json:"nll"`
	Perplexity float64 `json:"perplexity"`
	// Intervals are those of the metrics and of the perplexity, by their names: the figure
	// in 95 of 100 samples of conversations like these. One conversation has none.
	Intervals map[string]Interval `json:"intervals,omitempty"`
}

// PerplexityName is what the perplexity is called among metrics.
const PerplexityName = "perplexity"

// MarshalJSON writes the metrics as keys of their own.
func (s Score) MarshalJSON() ([]byte, error) {
	type fields Score
	return s.Metrics.marshal(fields(s))
}

// UnmarshalJSON reads what MarshalJSON has written.
func (s *Score) UnmarshalJSON(text []byte) error {
	type fields Score
	return s.Metrics.unmarshal(text, (*fields)(s))
}

// Speed says how many tokens were read (contexts, questions and right answers)
// and written (generated answers), and in what time.
type Speed struct {
	ReadTokens    int     `json:"read_tokens"`
	ReadSeconds   float64 `json:"read_seconds"`
	WrittenTokens int     `json:"written_tokens"`
	WriteSeconds  float64 `json:"write_seconds"`
}

// add adds what was read and written in another time.
func (s *Speed) add(t Speed) {
	s.ReadTokens, s.ReadSeconds = s.ReadTokens+t.ReadTokens, s.ReadSeconds+t.ReadSeconds
	s.WrittenTokens, s.WriteSeconds = s.WrittenTokens+t.WrittenTokens, s.WriteSeconds+t.WriteSeconds
}

// Result is what Run found. Buckets without a question have no score.
type Result struct {
	Reading
	Seeds  int    `json:"seeds,omitempty"`      // over which scores are means, if more than one
	Bounds Bounds `json:"tokens_back,omitzero"` // earlier versions wrote none
	Budget
	Scores  []Score  `json:"scores"`
	Speed   Speed    `json:"speed"`
	Answers []Answer `json:"answers,omitempty"` // seed by seed
}

// Title says under which policy, at which budget if one was asked for, and over how many
// seeds.
func (r *Result) Title() string { return withSeeds(r.Reading, r.Seeds) }

func withSeeds(r Reading, seeds int) string {
	if seeds > 1 {
		return fmt.Sprintf("%s, %d seeds", r.Title(), seeds)
	}
	return r.Title()
}

// add takes a record in.
func (r *Result) add(one Record) {
	r.Speed.add(one.Speed)
	r.Answers = append(r.Answers, one.Answers...)
}

// merge takes in the result of a further seed.
func (r *Result) merge(more *Result) {
	r.Seeds = max(1, r.Seeds) + 1
	r.Speed.add(more.Speed)
	r.Answers = append(r.Answers, more.Answers...)
	r.score()
}

// Score returns the score of a bucket; its N is 0 if it has no question.
func (r *Result) Score(b Bucket) Score {
	for _, s := range r.Scores {
		if s.Bucket == b {
			return s
		}
	}
	return Score{Bucket: b}
}

// score computes Scores from Answers.
func (r *Result) score() {
	r.Scores = nil
	answers := fold(r.Answers)
	for _, b := range buckets {
		in := 0
		for _, a := range answers {
			if r.Bounds.Has(b, a.Distance) {
				in++
			}
		}
		if in > 0 {
			r.Scores = append(r.Scores, r.scoreOf(b, in, self(answers)))
		}
	}
}

var buckets = []Bucket{Near, Mid, Far, All}

// scoreOf is the mean over the answers of a bucket, with intervals by conversation.
func (r *Result) scoreOf(b Bucket, n int, answers pairs) Score {
	s := Score{Bucket: b, N: n, Metrics: Figures{}, Intervals: map[string]Interval{}}
	figure := func(name string, m Measure, shape func(float64) float64) (mean float64, rows int) {
		p := answers.sum(r.Bounds, b, m)
		rows, of := len(p.Weights), Mean(p.Before, p.Weights)
		if rows > 1 {
			s.Intervals[name] = Bootstrap(rows, func(u []int) float64 { return shape(of(u)) })
		}
		return of(Units(rows)), rows
	}
	for _, m := range metrics.Names() {
		if v, rows := figure(string(m), m.Of, func(v float64) float64 { return v }); rows > 0 {
			s.Metrics[m] = v
		}
	}
	s.NLL, s.Rows = figure(PerplexityName, Loss, math.Exp)
	s.Perplexity = math.Exp(s.NLL)
	if len(s.Intervals) == 0 {
		s.Intervals = nil // as it is read from a file
	}
	return s
}

// WriteTable prints results, policy by policy and bucket by bucket, with their intervals.
func WriteTable(w io.Writer, results []*Result) error { return scoreTable(results).write(w) }

// scoreTable is the table of results.
func scoreTable(results []*Result) table {
	t := table{columns: []string{"policy", "fact", "tokens back", "n"}}
	several := slices.ContainsFunc(results, func(r *Result) bool {
		return slices.ContainsFunc(r.Scores, func(s Score) bool { return s.Rows != 0 && s.Rows != s.N })
	})
	if several {
		t.columns = append(t.columns, "rows")
	}
	measured := measuredBy(results)
	for _, m := range measured {
		t.columns = append(t.columns, strings.ToUpper(string(m)))
	}
	t.columns = append(t.columns, PerplexityName, "tokens kept", "bytes", "read tokens/s", "written tokens/s")
	for _, r := range results {
		policy := r.Title()
		for _, s := range r.Scores {
			row := []string{policy, string(s.Bucket), r.Bounds.Distances(s.Bucket), fmt.Sprint(s.N)}
			if several {
				row = append(row, fmt.Sprint(s.Rows))
			}
			for _, m := range measured {
				row = append(row, s.text(string(m), s.Metrics.Text(m, 2)))
			}
			row = append(row, s.text(PerplexityName, fmt.Sprintf("%.2f", s.Perplexity)))
			if s.Bucket == All {
				row = append(row, r.Budget.texts()...)
				row = append(row, fmt.Sprintf("%.0f", rate(r.Speed.ReadTokens, r.Speed.ReadSeconds)), fmt.Sprintf("%.0f", rate(r.Speed.WrittenTokens, r.Speed.WriteSeconds)))
			}
			t.rows = append(t.rows, row)
			policy = ""
		}
	}
	return t
}

// text is a figure with its interval, if it has one.
func (s Score) text(name, figure string) string {
	if i, ok := s.Intervals[name]; ok {
		return fmt.Sprintf("%s (%.2f–%.2f)", figure, i.Lo, i.Hi)
	}
	return figure
}

// measuredBy lists the metrics that any of the results has.
func measuredBy(results []*Result) []Metric {
	return slices.DeleteFunc(metrics.Names(), func(m Metric) bool {
		return !slices.ContainsFunc(results, func(r *Result) bool {
			return slices.ContainsFunc(r.Scores, func(s Score) bool { _, ok := s.Metrics[m]; return ok })
		})
	})
}

// rate is 0 where nothing was done.
func rate(tokens int, seconds float64) float64 {
	if tokens == 0 {
		return 0
	}
	return float64(tokens) / seconds
}

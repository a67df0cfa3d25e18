package eval

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Score is the mean over the questions of a bucket.
type Score struct {
	Bucket  Bucket  `json:"bucket"`
	N       int     `json:"n"` // questions
	Metrics Figures `json:"-"` // in a file beside the others: em, f1
	// NLL is the mean over the tokens of the right answers, in nats;
	// Perplexity is its exponential.
	NLL        float64 `json:"nll"`
	Perplexity float64 `json:"perplexity"`
}

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

// Result is what Run found. Buckets without a question have no score.
type Result struct {
	Policy Policy `json:"policy"`
	Bounds Bounds `json:"tokens_back,omitzero"` // earlier versions wrote none
	Budget
	Scores  []Score  `json:"scores"`
	Speed   Speed    `json:"speed"`
	Answers []Answer `json:"answers,omitempty"`
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

// score fills Scores from Answers.
func (r *Result) score() {
	for _, b := range []Bucket{Near, Mid, Far, All} {
		var in []Answer
		for _, a := range r.Answers {
			if r.Bounds.Has(b, a.Distance) {
				in = append(in, a)
			}
		}
		if len(in) > 0 {
			r.Scores = append(r.Scores, scoreOf(b, in))
		}
	}
}

// scoreOf is the mean over answers.
func scoreOf(b Bucket, answers []Answer) Score {
	s, nll, tokens := Score{Bucket: b, N: len(answers), Metrics: Figures{}}, 0.0, 0
	for _, a := range answers {
		for m, v := range a.Metrics {
			s.Metrics[m] += v
		}
		nll, tokens = nll+a.NLL, tokens+a.Tokens
	}
	for m := range s.Metrics {
		s.Metrics[m] /= float64(s.N)
	}
	s.NLL = nll / float64(tokens)
	s.Perplexity = math.Exp(s.NLL)
	return s
}

// WriteTable prints results, policy by policy and bucket by bucket.
func WriteTable(w io.Writer, results []*Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "policy\tfact\ttokens back\tn")
	for _, m := range metrics.Names() {
		fmt.Fprintf(t, "\t%s", strings.ToUpper(string(m)))
	}
	fmt.Fprintln(t, "\tperplexity\tread tokens/s\twritten tokens/s")
	for _, r := range results {
		policy := string(r.Policy)
		for _, s := range r.Scores {
			fmt.Fprintf(t, "%s\t%s\t%s\t%d", policy, s.Bucket, r.Bounds.Distances(s.Bucket), s.N)
			for _, m := range metrics.Names() {
				fmt.Fprintf(t, "\t%s", s.Metrics.Text(m, 2))
			}
			speed := "\t"
			if s.Bucket == All {
				speed = fmt.Sprintf("%.0f\t%.0f", rate(r.Speed.ReadTokens, r.Speed.ReadSeconds), rate(r.Speed.WrittenTokens, r.Speed.WriteSeconds))
			}
			fmt.Fprintf(t, "\t%.2f\t%s\n", s.Perplexity, speed)
			policy = ""
		}
	}
	return t.Flush()
}

// rate is 0 where nothing was done.
func rate(tokens int, seconds float64) float64 {
	if tokens == 0 {
		return 0
	}
	return float64(tokens) / seconds
}

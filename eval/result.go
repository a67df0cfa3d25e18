package eval

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// The bounds of the buckets, in tokens from the fact to the answer: nearer than
// nearBelow a window of 256 tokens holds the fact, further than farAbove it has
// left any window that is read before (method, section 6).
const (
	nearBelow = 250
	farAbove  = 600
)

// Bucket is a range of distances from the fact to the answer.
type Bucket string

// The buckets. All holds every question, also those with no known distance.
const (
	Near Bucket = "near"
	Mid  Bucket = "mid"
	Far  Bucket = "far"
	All  Bucket = "all"
)

// distances says which distances are in the bucket, for readers of a table.
func (b Bucket) distances() string {
	switch b {
	case Near:
		return fmt.Sprintf("< %d", nearBelow)
	case Mid:
		return fmt.Sprintf("%d-%d", nearBelow, farAbove)
	case Far:
		return fmt.Sprintf("> %d", farAbove)
	default:
		return ""
	}
}

// Has says whether the bucket holds questions whose fact is so many tokens back
// (-1: not known).
func (b Bucket) Has(distance int) bool {
	switch b {
	case Near:
		return distance >= 0 && distance < nearBelow
	case Mid:
		return distance >= nearBelow && distance <= farAbove
	case Far:
		return distance > farAbove
	default:
		return true
	}
}

// Score is the mean over the questions of a bucket.
type Score struct {
	Bucket Bucket  `json:"bucket"`
	N      int     `json:"n"` // questions
	EM     float64 `json:"em"`
	F1     float64 `json:"f1"`
	// NLL is the mean over the tokens of the right answers, in nats;
	// Perplexity is its exponential.
	NLL        float64 `json:"nll"`
	Perplexity float64 `json:"perplexity"`
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
	Policy  Policy   `json:"policy"`
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
		s, nll, tokens := Score{Bucket: b}, 0.0, 0
		for _, a := range r.Answers {
			if b.Has(a.Distance) {
				s.N, s.EM, s.F1 = s.N+1, s.EM+a.EM, s.F1+a.F1
				nll, tokens = nll+a.NLL, tokens+a.Tokens
			}
		}
		if s.N == 0 {
			continue
		}
		s.EM, s.F1, s.NLL = s.EM/float64(s.N), s.F1/float64(s.N), nll/float64(tokens)
		s.Perplexity = math.Exp(s.NLL)
		r.Scores = append(r.Scores, s)
	}
}

// WriteTable prints results, policy by policy and bucket by bucket.
func WriteTable(w io.Writer, results []*Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "policy\tfact\ttokens back\tn\tEM\tF1\tperplexity\tread tokens/s\twritten tokens/s")
	for _, r := range results {
		policy := string(r.Policy)
		for _, s := range r.Scores {
			speed := "\t"
			if s.Bucket == All {
				speed = fmt.Sprintf("%.0f\t%.0f", rate(r.Speed.ReadTokens, r.Speed.ReadSeconds), rate(r.Speed.WrittenTokens, r.Speed.WriteSeconds))
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%.2f\t%.2f\t%.2f\t%s\n", policy, s.Bucket, s.Bucket.distances(), s.N, s.EM, s.F1, s.Perplexity, speed)
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

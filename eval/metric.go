package eval

import (
	"encoding/json"
	"strconv"

	"eisft/internal/enum"
)

// Metric is a way to score a generated answer.
type Metric string

// The metrics. Each is an entry in the table of metrics, and those that are computed alike
// share a file of this package. Its name is a key in files of results.
const (
	MetricExactMatch     Metric = "em"
	MetricF1             Metric = "f1"
	MetricF1Chinese      Metric = "f1-zh"
	MetricRouge1         Metric = "rouge-1"
	MetricRouge2         Metric = "rouge-2"
	MetricRougeL         Metric = "rouge-l"
	MetricRougeLChinese  Metric = "rouge-l-zh"
	MetricClassification Metric = "classification"
	MetricRetrieval      Metric = "retrieval"
	MetricRetrievalZh    Metric = "retrieval-zh"
	MetricCount          Metric = "count"
	MetricEditSimilarity Metric = "edit-similarity"
	MetricMatchAll       Metric = "match-all"
	MetricMatchAny       Metric = "match-any"
)

var metrics = enum.NewTable[Metric, metric]("metric").
	With(MetricExactMatch, exactMatch).
	With(MetricF1, wordF1).
	With(MetricF1Chinese, chineseF1).
	With(MetricRouge1, rouge1).
	With(MetricRouge2, rouge2).
	With(MetricRougeL, rougeL).
	With(MetricRougeLChinese, rougeLChinese).
	With(MetricClassification, classification).
	With(MetricRetrieval, retrieval("Paragraph ")).
	With(MetricRetrievalZh, retrieval("段落")).
	With(MetricCount, count).
	With(MetricEditSimilarity, editSimilarity).
	With(MetricMatchAll, matchAll).
	With(MetricMatchAny, matchAny)

// metric is what the table of metrics knows of one.
type metric struct {
	title string // "exact match"
	// score compares an answer with what counts as right: 0 is wrong, 1 right.
	score func(text string, right Right) float64
	// check, if not nil, says what is wrong with a row whose answers cannot be scored so.
	check func(right Right) error
}

// Right is what the answer to a question is scored against.
type Right struct {
	Answers []string // all that are accepted
	Classes []string // among which a classification chooses
}

// best is the score of a metric that compares with one accepted answer: the greatest one.
func best(score func(text, answer string) float64) func(text string, right Right) float64 {
	return func(text string, right Right) float64 {
		most := 0.0
		for _, answer := range right.Answers {
			most = max(most, score(text, answer))
		}
		return most
	}
}

// Metrics lists those that every answer is scored by.
func Metrics() []Metric { return []Metric{MetricExactMatch, MetricF1} }

// AllMetrics lists what a task may name (see [Task]).
func AllMetrics() []Metric { return metrics.Names() }

// Title is what people are told about the metric.
func (m Metric) Title() string { return metrics.Get(m).title }

// Figures holds a number for each metric. In a file its keys stand beside those of what
// holds it; of metrics that a file does not have there is none.
type Figures map[Metric]float64

// figuresOf scores an answer by those metrics that score every answer and by further ones.
func figuresOf(text string, right Right, more ...Metric) Figures {
	f := Figures{}
	for _, m := range append(Metrics(), more...) {
		f[m] = metrics.Get(m).score(text, right)
	}
	return f
}

// Text prints the figure of a metric with so many decimals, a dash where there is none.
func (f Figures) Text(m Metric, decimals int) string {
	v, ok := f[m]
	if !ok {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// marshal writes figures as further keys of an object.
func (f Figures) marshal(object any) ([]byte, error) {
	text, err := json.Marshal(object)
	if err != nil || len(f) == 0 {
		return text, err
	}
	more, err := json.Marshal(map[Metric]float64(f))
	if err != nil {
		return nil, err
	}
	return append(append(text[:len(text)-1], ','), more[1:]...), nil
}

// unmarshal reads what marshal has written.
func (f *Figures) unmarshal(text []byte, object any) error {
	if err := json.Unmarshal(text, object); err != nil {
		return err
	}
	var keys map[Metric]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return err
	}
	*f = Figures{}
	for _, m := range metrics.Names() {
		if keys[m] == nil {
			continue
		}
		var v float64
		if err := json.Unmarshal(keys[m], &v); err != nil {
			return err
		}
		(*f)[m] = v
	}
	return nil
}

package eval

import (
	"encoding/json"
	"strconv"

	"eisft/internal/enum"
)

// Metric is a way to score a generated answer.
type Metric string

// The metrics. Each is a file of this package and an entry in the table of metrics. Its
// name is a key in files of results.
const (
	MetricExactMatch Metric = "em"
	MetricF1         Metric = "f1"
)

var metrics = enum.NewTable[Metric, metric]("metric").
	With(MetricExactMatch, exactMatch).
	With(MetricF1, wordF1)

// metric is what the table of metrics knows of one.
type metric struct {
	title string // "exact match"
	// score compares an answer with those that are right: 0 is wrong, 1 right.
	score func(text string, accepted []string) float64
}

// Metrics lists all metrics.
func Metrics() []Metric { return metrics.Names() }

// Title is what people are told about the metric.
func (m Metric) Title() string { return metrics.Get(m).title }

// Figures holds a number for each metric. In a file its keys stand beside those of what
// holds it; of metrics that a file does not have there is none.
type Figures map[Metric]float64

// figuresOf scores an answer by all metrics.
func figuresOf(text string, accepted []string) Figures {
	f := Figures{}
	for _, m := range metrics.Names() {
		f[m] = metrics.Get(m).score(text, accepted)
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

package quant

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"eisft/eval"
	"eisft/internal/head"
	"eisft/model"
	"eisft/quant/encoding"
)

// The report's files in a quantized model's folder.
const (
	ReportFile = "report.json"
	PageFile   = "report.html" // the same to look at, with plots, in one file
)

// Report says what quantization did to a model.
type Report struct {
	Schema      int         `json:"schema"`
	Scheme      Scheme      `json:"scheme"`
	Range       Range       `json:"range"`
	Base        string      `json:"base_identity"`
	Data        string      `json:"calibration_data"` // the file
	Calibration Calibration `json:"calibration"`
	// Evaluation is nil if there was nothing to evaluate on.
	Evaluation  *Evaluation        `json:"evaluation,omitempty"`
	Size        Change[int]        `json:"bytes"` // of the model with its adapter
	Weights     []WeightReport     `json:"weights"`
	Activations []ActivationReport `json:"activations"`
}

// Change is a figure of the float model and of the quantized one.
type Change[T any] struct {
	Before T `json:"before"`
	After  T `json:"after"`
}

// Evaluation are the scores of the trained block on held-out questions, by how
// far back the fact lies.
type Evaluation struct {
	Data    string               `json:"data"` // the file
	Samples int                  `json:"samples"`
	Scores  Change[*eval.Result] `json:"scores"`
}

// WeightReport says how well codes stand for a matrix.
type WeightReport struct {
	Name     string  `json:"name"`
	Shape    [2]int  `json:"shape"`
	Bits     int     `json:"bits"`
	Rule     string  `json:"scale_rule"`
	ClipRate float64 `json:"clip_rate"`
	SQNR     float64 `json:"sqnr_db"`
}

// ActivationReport is a point and the histogram it was chosen from.
type ActivationReport struct {
	Point
	Rule    string   `json:"scale_rule"`
	Octaves []Octave `json:"octaves"`
}

// newReport compares q with the model that it was made from.
func newReport(m *model.Model, q *Quantized, seen *Statistics) *Report {
	r := &Report{Schema: Schema, Scheme: q.Scheme, Range: q.Range, Base: q.Base, Calibration: q.Calibration}
	for _, f := range frozen(m.Base) {
		w := q.Weight(f.name)
		clipped, decibel := w.fidelity(f.Weight())
		r.Weights = append(r.Weights, WeightReport{
			Name: w.Name, Shape: [2]int{w.Out, w.In}, Bits: w.Bits,
			Rule: weightRule(f.format(q.Scheme)), ClipRate: clipped, SQNR: decibel,
		})
	}
	for _, p := range q.Points {
		lo, hi := p.Encoding.Limits()
		steps := hi
		if len(p.Encoding.Zeros) > 0 {
			steps = hi - lo
		}
		o := seen.observers[p.Name]
		if o == nil { // a mask, a table or a constant
			continue
		}
		r.Activations = append(r.Activations, ActivationReport{
			Point: *p, Rule: fmt.Sprintf("%s/%d", q.Range, steps), Octaves: o.octaves(),
		})
	}
	r.Size = size(m, q)
	return r
}

// weightRule says how the scales of weights were chosen.
func weightRule(f encoding.Format) string {
	lo, hi := f.Limits()
	rule, each := fmt.Sprintf("max|w|/%d", hi), "row"
	if f.ZeroPoint {
		rule = fmt.Sprintf("(max-min)/%d", hi-lo)
	}
	if f.Block > 0 {
		each = fmt.Sprintf("block of %d", f.Block)
	}
	return rule + " per " + each
}

// ReadReport reads the report in a quantized model's folder.
func ReadReport(dir string) (*Report, error) {
	path := filepath.Join(dir, ReportFile)
	text, err := head.Read(path, head.Description)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: not valid JSON: %w", path, err)
	}
	if err := checkSchema(r.Schema); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// size counts the bytes of a model with its adapter. Embeddings are in the
// checkpoint's type both times, norms, biases and the adapter in float32.
func size(m *model.Model, q *Quantized) Change[int] {
	b := m.Base
	rest := b.Embed.Bytes() + 4*m.Params.Count()
	for _, n := range b.Norms() {
		rest += 4 * n.Parameters()
	}
	for _, l := range b.Layers {
		for _, n := range l.Norms() {
			rest += 4 * n.Parameters()
		}
	}
	c := Change[int]{Before: rest, After: rest}
	for _, f := range frozen(b) {
		c.After += q.Weight(f.name).Bytes() + 4*len(f.Bias)
		if f.Linear != b.Embed {
			c.Before += f.Bytes() + 4*len(f.Bias)
		}
	}
	return c
}

// WriteTable prints what quantization changed.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\tbefore\tafter\n", r.Scheme.Name)
	for _, row := range r.rows() {
		fmt.Fprintf(t, "%s\t%s\t%s\n", row.What, row.Before, row.After)
	}
	return t.Flush()
}

// row is a line of the table of what changed, in words.
type row struct{ What, Before, After string }

func (r *Report) rows() []row {
	var rows []row
	if r.Evaluation != nil {
		before, after := r.Evaluation.Scores.Before, r.Evaluation.Scores.After
		for _, m := range eval.Metrics() {
			for _, b := range before.Scores {
				what := fmt.Sprintf("%s, %s (%d questions)", m.Title(), before.Bounds.Describe(b.Bucket), b.N)
				rows = append(rows, row{what, b.Metrics.Text(m, 3), after.Score(b.Bucket).Metrics.Text(m, 3)})
			}
		}
		rows = append(rows, row{"perplexity of the answers", fmt.Sprintf("%.3f", before.Score(eval.All).Perplexity), fmt.Sprintf("%.3f", after.Score(eval.All).Perplexity)})
	}
	return append(rows, row{"size", megabytes(r.Size.Before), megabytes(r.Size.After)})
}

func megabytes(n int) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

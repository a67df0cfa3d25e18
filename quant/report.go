package quant

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"eisft/eval"
	"eisft/internal/bytesize"
	"eisft/internal/head"
	"eisft/internal/mapped"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/quant/encoding"
)

// The report's files in a quantized model's folder.
const (
	ReportFile = "report.json"
	PageFile   = "report.html" // the same to look at, with plots, in one file
)

// Report says what quantization did to a model, and holds the settings that do it again.
type Report struct {
	Schema      int         `json:"schema"`
	Scheme      Scheme      `json:"scheme"`
	Recipe      Recipe      `json:"recipe"`
	Settings    Settings    `json:"settings"`
	Range       Range       `json:"range"`
	Base        string      `json:"base_identity"`
	Data        string      `json:"calibration_data"` // the file
	Calibration Calibration `json:"calibration"`
	// Evaluation is nil if there was nothing to evaluate on.
	Evaluation *Evaluation `json:"evaluation,omitempty"`
	// Those that follow are nil where nothing of it was measured.
	Ablation    *Ablation          `json:"ablation,omitempty"`
	Sensitivity *SensitivityReport `json:"sensitivity,omitempty"`
	Mixed       *MixedReport       `json:"mixed,omitempty"`
	Cache       *CacheReport       `json:"cache,omitempty"`
	// Reconstructed says of each layer what its reconstruction has gained.
	Reconstructed []Reconstructed `json:"reconstructed,omitempty"`
	// Transforms says what transforms left out, and why.
	Transforms []string `json:"transform_notes,omitempty"`
	// Float are the multiplications of matrix products that stay in float, where a prompt of
	// FloatTokens is read.
	Float       []FloatPart        `json:"float"`
	FloatTokens int                `json:"float_tokens"`
	Size        Change[int]        `json:"bytes"` // of the model with its adapter
	Weights     []WeightReport     `json:"weights"`
	Activations []ActivationReport `json:"activations"`
}

// Settings are what a report's figures depend on beside recipe, base and token ids.
type Settings struct {
	Version     string `json:"eisft"`
	Go          string `json:"go"`
	System      string `json:"system"`             // linux/amd64
	Kernels     string `json:"kernels"`            // what computes products
	Calibration string `json:"calibration_sha256"` // of the file
	Evaluation  string `json:"evaluation_sha256,omitempty"`
	Adapter     string `json:"adapter_identity"` // of the block's parameters
}

// Change is a figure of the float model and of the quantized one.
type Change[T any] struct {
	Before T `json:"before"`
	After  T `json:"after"`
}

// Evaluation compares the float model and the quantized one on held-out rows: the loss of
// all tokens after the first From, and the answers of the trained block to questions, by how
// far back the fact lies.
type Evaluation struct {
	Data        string               `json:"data"` // the file
	Samples     int                  `json:"samples"`
	From        int                  `json:"from"`
	Comparisons []Comparison         `json:"comparisons"`
	Scores      Change[*eval.Result] `json:"scores"` // nil where no row has a question
}

// WeightReport says how well codes stand for a matrix.
type WeightReport struct {
	Name     string  `json:"name"`
	Shape    [2]int  `json:"shape"`
	Bits     int     `json:"bits"`
	Bytes    int     `json:"bytes"` // of codes, scales and zero points
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

// report describes what was made.
func (j *Job) report(ctx context.Context, made *made) (*Report, error) {
	r := newReport(j.Recipe, made.float, made.q, made.seen)
	r.Size, r.Reconstructed = size(j.Model, made.q), made.q.Reconstructed
	if made.q.Folded != nil {
		r.Transforms = made.q.Folded.Notes
	}
	r.Recipe, r.Data = *j.Recipe, j.Calibration.Files.String()
	r.Sensitivity, r.Mixed, r.Cache = made.sensitivity, made.mixed, made.cache
	r.Settings = Settings{
		Version: j.Version, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Kernels: kernels.Backend(), Adapter: j.Model.Params.Identity(),
	}
	r.FloatTokens = 8 * j.Model.Spec.Segment
	var err error
	if r.Float, err = FloatParts(j.Model, made.q.Scheme, r.FloatTokens); err != nil {
		return nil, err
	}
	if r.Settings.Calibration, err = j.Calibration.Files.Sum(); err == nil && !j.Evaluation.Nothing() {
		r.Settings.Evaluation, err = j.Evaluation.Sum(ctx)
	}
	return r, err
}

// newReport compares q with the float model that it was rounded from.
func newReport(recipe *Recipe, m *model.Model, q *Quantized, seen *Statistics) *Report {
	r := &Report{Schema: Schema, Scheme: q.Scheme, Range: q.Range, Base: q.Base, Calibration: q.Calibration}
	for _, f := range frozen(m.Base) {
		w := q.Weight(f.name)
		clipped, decibel := w.fidelity(f.Linear)
		r.Weights = append(r.Weights, WeightReport{
			Name: w.Name, Shape: [2]int{w.Out, w.In}, Bits: w.Bits, Bytes: w.Bytes(),
			Rule: recipe.scaleRule(w.Format()), ClipRate: clipped, SQNR: decibel,
		})
		mapped.Rest()
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
	return r
}

// scaleRule says how the scales of weights are chosen: by the whole range, or by the rule that
// looks for them.
func (r *Recipe) scaleRule(f encoding.Format) string {
	lo, hi := f.Limits()
	rule, each := r.Weights, "row"
	if rule == RoundGPTQ {
		rule = cmp.Or(r.GPTQ.Scales, RoundSeqMSE)
	}
	switch {
	case rule != RoundNearest:
	case f.ZeroPoint:
		rule = fmt.Sprintf("(max-min)/%d", hi-lo)
	default:
		rule = fmt.Sprintf("max|w|/%g", f.Levels())
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

// WriteTable prints what quantization changed.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\tbefore\tafter\tchange\t95 %% interval\n", r.Scheme.Name)
	for _, row := range r.rows() {
		cells := []string{row.What, row.Before, row.After, row.Change, row.Interval}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	if err := t.Flush(); err != nil || r.Ablation == nil {
		return err
	}
	fmt.Fprintf(t, "\nmethod\tperplexity\tincrease\t95 %% interval\n")
	for _, s := range r.Ablation.Steps {
		fmt.Fprintf(t, "%s\t%.3f\t%s\t%s\n", s.What, s.Perplexity.Value, signedPercent(s.Increase.Value), percentInterval(s.Increase.Interval))
	}
	return t.Flush()
}

// Warnings are what calibration and mixed precision found odd.
func (r *Report) Warnings() []string {
	list := slices.Clone(r.Calibration.Warnings)
	if r.Mixed != nil {
		list = append(list, r.Mixed.Warnings...)
	}
	return list
}

// row is a line of the table of what changed, in words.
type row struct{ What, Before, After, Change, Interval string }

func (r *Report) rows() []row {
	var rows []row
	if r.Evaluation != nil {
		for _, c := range r.Evaluation.Comparisons {
			rows = append(rows, c.row())
		}
	}
	return append(rows, row{"size", bytesize.Megabytes(r.Size.Before), bytesize.Megabytes(r.Size.After), signedPercent(float64(r.Size.After)/float64(r.Size.Before) - 1), ""})
}

// Words words the comparison: what it is of, before, after, the change and its interval.
func (c Comparison) Words() (what, before, after, change, interval string) {
	r := c.row()
	return r.What, r.Before, r.After, r.Change, r.Interval
}

// row words a comparison.
func (c Comparison) row() row {
	unit, change, interval := "questions", fmt.Sprintf("%+.3f", c.Difference.Value), fmt.Sprintf("%+.3f to %+.3f", c.Difference.Lo, c.Difference.Hi)
	if c.Unit == UnitPerplexity {
		unit, change, interval = "tokens", signedPercent(c.Difference.Value), percentInterval(c.Difference.Interval)
	}
	if c.Rows < eval.LeastDiffer {
		interval = fmt.Sprintf("none, of %s", english.Plural(c.Rows, "conversation", ""))
	}
	return row{
		fmt.Sprintf("%s (%s %s)", c.What, humanize.Comma(int64(c.N)), unit),
		fmt.Sprintf("%.3f", c.Change.Before.Value), fmt.Sprintf("%.3f", c.Change.After.Value), change, interval,
	}
}

func signedPercent(x float64) string { return fmt.Sprintf("%+.2f %%", 100*x) }

func percentInterval(i eval.Interval) string {
	return fmt.Sprintf("%+.2f to %+.2f %%", 100*i.Lo, 100*i.Hi)
}

package eval

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// Report is what an evaluation found: a result a policy, and what the policies have more
// than one of them.
type Report struct {
	Settings    *Settings     `json:"settings,omitempty"` // of an evaluation that is kept
	Results     []*Result     `json:"results"`
	Differences []*Difference `json:"differences,omitempty"`
	Tasks       []*TaskScore  `json:"tasks,omitempty"`
	Recall      []*Recall     `json:"recall,omitempty"`
	Texts       []*Texts      `json:"texts,omitempty"` // of data that are plain texts
}

// Difference is what one result has more than another one, on the questions of both.
type Difference struct {
	Of      string         `json:"of"`
	Against string         `json:"against"`
	Bounds  Bounds         `json:"tokens_back"`
	Buckets []BucketChange `json:"buckets"`
}

// BucketChange is a difference in a bucket, by the names of metrics and of the perplexity.
type BucketChange struct {
	Bucket  Bucket            `json:"bucket"`
	N       int               `json:"n"` // questions
	Rows    int               `json:"rows"`
	Changes map[string]Change `json:"changes"` // before is Against, after is Of
}

// compare fills Differences: every result against that of a policy at the same budget.
func (r *Report) compare(against Policy) {
	var readings []Reading
	for _, result := range r.Results {
		readings = append(readings, result.Reading)
	}
	for _, result := range r.Results {
		if result.Policy == against {
			continue
		}
		i := result.against(against, readings)
		list := pairUp(fold(r.Results[i].Answers), fold(result.Answers), place)
		r.Differences = append(r.Differences, difference(result.Title(), r.Results[i].Title(), list, result.Bounds))
	}
}

// difference compares the answers of pairs, bucket by bucket.
func difference(of, against string, list pairs, bounds Bounds) *Difference {
	d := &Difference{Of: of, Against: against, Bounds: bounds}
	for _, b := range buckets {
		c := BucketChange{Bucket: b, Changes: map[string]Change{}}
		for _, p := range list {
			if bounds.Has(b, p.before.Distance) {
				c.N++
			}
		}
		if c.N == 0 {
			continue
		}
		for _, m := range metrics.Names() {
			if p := list.sum(bounds, b, m.Of); len(p.Weights) > 0 {
				c.Changes[string(m)] = p.Means()
			}
		}
		loss := list.sum(bounds, b, Loss).Perplexities()
		c.Rows, c.Changes[PerplexityName] = loss.Rows, loss
		d.Buckets = append(d.Buckets, c)
	}
	return d
}

// beyond marks a difference that is beyond chance.
const beyond = " *"

// differenceTable is the table of differences, all against the same.
func differenceTable(title string, list []*Difference) table {
	t := table{title: title, columns: []string{"", "fact", "tokens back", "n"}}
	var names []string
	for _, m := range append(metrics.Names(), PerplexityName) {
		if slices.ContainsFunc(list, func(d *Difference) bool {
			return slices.ContainsFunc(d.Buckets, func(b BucketChange) bool { _, ok := b.Changes[string(m)]; return ok })
		}) {
			names = append(names, string(m))
		}
	}
	for _, n := range names {
		if n != PerplexityName {
			n = strings.ToUpper(n)
		}
		t.columns = append(t.columns, n)
	}
	for _, d := range list {
		of := d.Of
		for _, b := range d.Buckets {
			row := []string{of, string(b.Bucket), d.Bounds.Distances(b.Bucket), fmt.Sprint(b.N)}
			for _, n := range names {
				row = append(row, b.text(n))
			}
			t.rows, of = append(t.rows, row), ""
		}
	}
	return t
}

// text words the change of a figure; that of a perplexity is relative.
func (b BucketChange) text(name string) string {
	c, ok := b.Changes[name]
	if !ok {
		return "–"
	}
	number := func(v float64) string { return fmt.Sprintf("%+.2f", v) }
	if name == PerplexityName {
		number = func(v float64) string { return fmt.Sprintf("%+.1f %%", 100*v) }
	}
	text := number(c.Difference.Value)
	if c.Rows > 1 {
		text += fmt.Sprintf(" (%s to %s)", number(c.Difference.Lo), number(c.Difference.Hi))
	}
	if c.BeyondChance {
		text += beyond
	}
	return text
}

// How intervals and differences are to be read, below every table that has some.
var (
	intervalNote = fmt.Sprintf("In brackets: 95 %% intervals of %s bootstrap samples of conversations, drawn with seed %d.", humanize.Comma(Resamples), bootstrapSeed)
	alikeNote    = "An interval without width says that all conversations agree: of n that do, up to 3/n of others may not."
	chanceNote   = fmt.Sprintf("* beyond chance: the interval of the paired difference leaves 0 out, and %d conversations or more differ.", LeastDiffer)
)

// tables are all that the report shows in words.
func (r *Report) tables() []table {
	if len(r.Texts) > 0 {
		return textTables(r.Texts)
	}
	scores := scoreTable(r.Results)
	scores.notes = scoreNotes(r.Results)
	list := []table{scores}
	if len(r.Differences) > 0 {
		t := differenceTable("against "+r.Differences[0].Against, r.Differences)
		t.notes = []string{chanceNote}
		list = append(list, t)
	}
	return append(list, r.dividedTables()...)
}

// scoreNotes say what the intervals of results are.
func scoreNotes(results []*Result) []string {
	var notes []string
	for _, r := range results {
		for _, s := range r.Scores {
			for _, i := range s.Intervals {
				if len(notes) == 0 {
					notes = append(notes, intervalNote)
				}
				if i.Lo == i.Hi && len(notes) == 1 {
					notes = append(notes, alikeNote)
				}
			}
		}
	}
	return notes
}

// WriteTable prints the report.
func (r *Report) WriteTable(w io.Writer) error { return writeTables(w, r.tables()) }

// WriteMarkdown prints the report as Markdown.
func (r *Report) WriteMarkdown(w io.Writer) error { return writeMarkdown(w, r.tables()) }

func writeTables(w io.Writer, list []table) error {
	for i, t := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	return nil
}

func writeMarkdown(w io.Writer, list []table) error {
	for i, t := range list {
		if i > 0 && t.title == "" {
			fmt.Fprintln(w)
		}
		if err := t.markdown(w); err != nil {
			return err
		}
	}
	return nil
}

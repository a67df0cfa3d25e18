package inspect

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"eisft/internal/errtext"
)

// Report is what was found out about a path.
type Report struct {
	Path string `json:"path"`
	Kind string `json:"kind"` // what it is: "model", "run", …
	// Facts are single values, in the order in which they are read best.
	Facts  Facts   `json:"facts"`
	Tables []Table `json:"tables,omitempty"`
	// Notes say what else is worth knowing: what is missing yet and the command
	// that makes it.
	Notes []string `json:"notes,omitempty"`
	// Problems say what is wrong and what to do about it.
	Problems []string `json:"problems,omitempty"`
}

// Facts are named values.
type Facts []Fact

// Fact is a named value: a text, a number, or a [Count], [Bytes], [Share], [Seconds].
type Fact struct {
	Name  string
	Value any
}

// MarshalJSON writes facts as one object; spaces in names become underscores.
func (f Facts) MarshalJSON() ([]byte, error) {
	object := map[string]any{}
	for _, fact := range f {
		object[strings.ReplaceAll(fact.Name, " ", "_")] = fact.Value
	}
	return json.Marshal(object)
}

// Table is a titled table. Cells are as a Fact's values; nil is unknown.
type Table struct {
	Title   string   `json:"title"`
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

func (t *Table) row(cells ...any) { t.Rows = append(t.Rows, cells) }

func (r *Report) fact(name string, value any) { r.Facts = append(r.Facts, Fact{name, value}) }

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// problem adds an error to the problems, unless one is there that it only wraps; nil is none.
func (r *Report) problem(err error) {
	if err == nil {
		return
	}
	text := errtext.Of(err)
	if !slices.ContainsFunc(r.Problems, func(p string) bool { return text == p || strings.HasSuffix(text, ": "+p) }) { // a .gguf file is all of a model
		r.Problems = append(r.Problems, text)
	}
}

// table adds a table that has rows.
func (r *Report) table(t Table) {
	if len(t.Rows) > 0 {
		r.Tables = append(r.Tables, t)
	}
}

// Err says that there are problems, nil if there are none.
func (r *Report) Err() error {
	switch n := len(r.Problems); n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s has a problem", r.Path)
	default:
		return fmt.Errorf("%s has %d problems", r.Path, n)
	}
}

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n", r.Path, r.Kind)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Facts {
		fmt.Fprintf(t, "  %s\t%s\n", f.Name, text(f.Value))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, table := range r.Tables {
		if err := table.writeText(w); err != nil {
			return err
		}
	}
	return writeList(w, []section{{"notes", r.Notes}, {"problems", r.Problems}})
}

func (t Table) writeText(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n", t.Title)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "  %s\n", strings.Join(t.Columns, "\t"))
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = text(c)
		}
		fmt.Fprintf(tw, "  %s\n", strings.Join(cells, "\t"))
	}
	return tw.Flush()
}

type section struct {
	title string
	lines []string
}

func writeList(w io.Writer, sections []section) error {
	for _, s := range sections {
		if len(s.lines) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s\n  %s\n", s.title, strings.Join(s.lines, "\n  ")); err != nil {
			return err
		}
	}
	return nil
}

// text prints a value in one line.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "–"
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case float64:
		return fmt.Sprintf("%.3g", v)
	default:
		return fmt.Sprint(v)
	}
}

// Count is a number of things, printed with thousands separated.
type Count int

func (c Count) String() string { return humanize.Comma(int64(c)) }

// Bytes is a size, printed in decimal units.
type Bytes int64

func (b Bytes) String() string {
	switch {
	case b < 1e3:
		return fmt.Sprintf("%d bytes", int64(b))
	case b < 1e6:
		return fmt.Sprintf("%.1f kB", float64(b)/1e3)
	case b < 1e9:
		return fmt.Sprintf("%.1f MB", float64(b)/1e6)
	default:
		return fmt.Sprintf("%.2f GB", float64(b)/1e9)
	}
}

// Share is a part of a whole, from 0 to 1, printed in per cent.
type Share float64

func (s Share) String() string { return fmt.Sprintf("%.3g %%", 100*float64(s)) }

// Score is a recall or a perplexity, printed with three decimals.
type Score float64

func (s Score) String() string { return fmt.Sprintf("%.3f", float64(s)) }

// Seconds is a length of time.
type Seconds float64

func (s Seconds) String() string {
	if s < 60 {
		return fmt.Sprintf("%.1f s", float64(s))
	}
	return fmt.Sprintf("%d min %02d s", int(s)/60, int(s)%60)
}

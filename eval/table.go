package eval

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table is what people are shown, in a terminal, in Markdown or on a page.
type table struct {
	title   string
	columns []string
	rows    [][]string // a short one has empty cells at its end
	notes   []string   // below it
}

// write prints the table in columns of spaces.
func (t table) write(w io.Writer) error {
	if t.title != "" {
		fmt.Fprintf(w, "%s\n", t.title)
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range t.all() {
		fmt.Fprintln(out, strings.Join(row, "\t")+strings.Repeat("\t", len(t.columns)-len(row)))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, n := range t.notes {
		fmt.Fprintln(w, n)
	}
	return nil
}

// all are the head and the rows.
func (t table) all() [][]string { return append([][]string{t.columns}, t.rows...) }

// escape keeps a cell within its table.
var escape = strings.NewReplacer("|", `\|`, "\n", " ", "*", `\*`, "<", "&lt;")

// markdown prints the table as Markdown.
func (t table) markdown(w io.Writer) error {
	var b strings.Builder
	if t.title != "" {
		fmt.Fprintf(&b, "\n**%s**\n\n", t.title)
	}
	for i, row := range t.all() {
		b.WriteString("|")
		for j := range t.columns {
			cell := ""
			if j < len(row) {
				cell = escape.Replace(row[j])
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(t.columns)) + "|\n")
		}
	}
	if len(t.notes) > 0 {
		fmt.Fprintf(&b, "\n%s\n", escape.Replace(strings.Join(t.notes, " ")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

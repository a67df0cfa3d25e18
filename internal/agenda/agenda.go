// Package agenda says what a command will do, stage by stage, before it does it.
package agenda

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Agenda lists stages and how much each is. The zero value is empty.
type Agenda struct{ items []item }

type item struct{ what, detail string }

// Add adds a stage, or a part of what is said of the last one (what is "" then).
func (a *Agenda) Add(what, format string, args ...any) {
	a.items = append(a.items, item{what, fmt.Sprintf(format, args...)})
}

// Write prints it, a line a stage.
func (a *Agenda) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, i := range a.items {
		fmt.Fprintf(t, "%s\t%s\n", i.what, i.detail)
	}
	return t.Flush()
}

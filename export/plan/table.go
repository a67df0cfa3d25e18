package plan

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"eisft/internal/bytesize"
)

// WriteTable prints the shapes that fit, or all if none does, why the others do not, and the
// choice.
func (p *Plan) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s; times are predictions, by %.0f %% of its rates and %.0f %% of its bandwidth\n\n", p.Device.Name, p.Scheme, 100*p.Device.ComputeShare, 100*p.Device.BandwidthShare)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "shape\tslots\twindow\tweights\tcache\tactivations\tmask\tGop a run\tfirst token after 2k\t8k\t32k\ttokens/s\tbound by")
	for _, c := range p.Candidates {
		if len(c.Problems) == 0 || p.Choice == nil {
			fmt.Fprintln(t, strings.Join(c.cells(), "\t"))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	p.writeRefused(w)
	if p.Choice == nil {
		_, err := fmt.Fprintf(w, "\n%s\n", p.Why)
		return err
	}
	_, err := fmt.Fprintf(w, "\nit would take %s: %s\n", p.Choice.Size, p.Why)
	return err
}

// cells are a shape's row.
func (c *Candidate) cells() []string {
	cells := []string{
		c.Size.String(), fmt.Sprint(c.Slots), fmt.Sprint(c.Window), bytesize.Megabytes(c.Weights), bytesize.Megabytes(c.Cache),
		bytesize.Megabytes(c.Activations), bytesize.Megabytes(c.Mask), operations(c.Operations),
	}
	for _, s := range c.FirstToken {
		text := fmt.Sprintf("%.2g s", s)
		if s == 0 {
			text = "–" // beyond the base's positions
		}
		cells = append(cells, text)
	}
	return append(cells, fmt.Sprintf("%.3g", c.Tokens), c.Bound)
}

// writeRefused lists what does not fit, with its first problem.
func (p *Plan) writeRefused(w io.Writer) {
	first := true
	for _, c := range p.Candidates {
		if len(c.Problems) == 0 {
			continue
		}
		if first {
			fmt.Fprintln(w, "\ndoes not fit:")
		}
		first = false
		fmt.Fprintf(w, "  %s: %s\n", c.Size, strings.Join(c.Problems, "; "))
	}
}

// operations lists billions of operations by kind: "a16w8 12.1, float 0.3".
func operations(kinds map[string]float64) string {
	var list []string
	for k, n := range kinds {
		if n > 0 {
			list = append(list, fmt.Sprintf("%s %.3g", k, n/1e9))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

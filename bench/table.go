package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable prints the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "matrix products: %s, %d cores\n", r.Products, r.Threads)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "case\tseconds\tCPU s\ttokens/s\tGFLOP/s\tof GEMM peak\tof read rate\tpeak MiB\t")
	for _, c := range r.Cases {
		fmt.Fprintf(t, "%s\t%.3f\t%s\t%s\t%s\t%s\t%s\t%s\t\n", c.Name, c.Seconds, orDash("%.3f", c.CPU),
			orDash("%.0f", c.TokensPerSecond()), orDash("%.1f", c.FLOP/c.Seconds/1e9),
			orDash("%.0f %%", 100*c.Share), orDash("%.0f %%", 100*c.ReadShare),
			orDash("%.0f", float64(c.Peak)/(1<<20)))
	}
	return t.Flush()
}

// orDash formats what was measured and is not zero.
func orDash(format string, v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

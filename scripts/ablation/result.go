package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"eisft/eval"
)

// result is what one variant recalls at one length, and a line of the results.
type result struct {
	Variant      string      `json:"variant"`
	Policy       eval.Policy `json:"policy"`
	Seed         int         `json:"seed"`
	Parameters   int         `json:"parameters"` // trained ones
	TrainSeconds float64     `json:"train_seconds"`
	Length       int         `json:"length"` // tokens of the conversations, about
	measured
}

// append adds a line to the results.
func (s study) append(r result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.results), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(s.results, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// writeTable prints a row for each variant, policy and seed, under what far and near mean.
func writeTable(w io.Writer, lengths []int, bounds eval.Bounds, lines []result) error {
	fmt.Fprintf(w, "%s, %s\n", bounds.Describe(eval.Far), bounds.Describe(eval.Near))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "variant\tpolicy\tseed\tparameters\ttrained (s)")
	for _, n := range lengths {
		fmt.Fprintf(t, "\tfar @%d\tnear @%d", n, n)
	}
	for i, r := range lines {
		if i%len(lengths) == 0 { // a variant's lengths stand side by side
			fmt.Fprintf(t, "\n%s\t%s\t%d\t%d\t%.0f", r.Variant, r.Policy, r.Seed, r.Parameters, r.TrainSeconds)
		}
		fmt.Fprintf(t, "\t%s\t%s", r.Far, r.Near)
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// String is the share, its interval and the number of questions.
func (r recall) String() string {
	if r.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f, %d)", r.EM, r.CI.Lo, r.CI.Hi, r.N)
}

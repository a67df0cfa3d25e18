package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	Questions    string      `json:"questions"`
	measured
}

// same says whether two results are of the same measurement.
func (r result) same(o result) bool {
	return r.Variant == o.Variant && r.Policy == o.Policy && r.Seed == o.Seed && r.Length == o.Length && r.Questions == o.Questions && r.Bounds == o.Bounds
}

// earlier reads the results that are there.
func (s study) earlier() (list []result, err error) {
	content, err := os.ReadFile(s.results)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for i, line := range bytes.Split(bytes.TrimSpace(content), []byte("\n")) {
		var r result
		if len(line) == 0 {
			continue
		}
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", s.results, i+1, err)
		}
		list = append(list, r)
	}
	return list, nil
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

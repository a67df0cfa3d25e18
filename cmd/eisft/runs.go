package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"eisft/eval"
	"eisft/train/runs"
)

func runsCommand() *cli.Command {
	return &cli.Command{
		Name:      "runs",
		Usage:     "list runs with their figures",
		ArgsUsage: "[FOLDER]",
		Description: `Lists the runs in a folder (default: ` + filepath.Dir(latestRun) + `): whether each is running, stopped or finished, how
many steps of each stage it has taken, the loss of the last one, the best loss on held-out
rows, what the trained block recalled in the evaluation at the end, the size of all its
files and when the newest was written. A star marks the run that the link latest points to.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: listRuns,
	}
}

func listRuns(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef(c, "unexpected argument %q", c.Args().Get(1))
	}
	folder := cmp.Or(c.Args().First(), filepath.Dir(latestRun))
	list, err := runs.List(folder)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		text, err := json.MarshalIndent(list, "", "  ")
		if err == nil {
			_, err = fmt.Fprintf(c.App.Writer, "%s\n", text)
		}
		return err
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(c.App.Writer, "there are no runs in %s; eisft train --config FILE makes one\n", folder)
		return err
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\trun\tstate\tsteps\tloss\theld-out\trecall\tsize\tchanged")
	for _, s := range list {
		star := " "
		if s.Latest {
			star = "*"
		}
		recall := "-"
		if s.Score != nil {
			recall = fmt.Sprintf("%s %.2f", eval.Metric(s.Metric).Title(), *s.Score)
		}
		steps, loss, heldOut := stageCells(s.Stages)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", star, filepath.Base(s.Dir), s.State, steps, loss, heldOut, recall,
			humanize.Bytes(uint64(s.Bytes)), humanize.Time(s.Changed))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range list {
		if s.By != "" {
			fmt.Fprintf(c.App.Writer, "%s: %s\n", filepath.Base(s.Dir), s.By)
		}
		if s.Problem != "" {
			fmt.Fprintf(c.App.Writer, "%s: %s\n", filepath.Base(s.Dir), s.Problem)
		}
	}
	return nil
}

// stageCells are the cells of a run's stages: what has been done of each, the last loss, and
// the best one on held-out samples.
func stageCells(stages []runs.StageSummary) (steps, loss, heldOut string) {
	var parts []string
	loss, heldOut = "-", "-"
	for _, s := range stages {
		part := fmt.Sprintf("%s %d/%d", s.Kind, s.Steps, s.Of)
		if s.Steps > 0 {
			loss = fmt.Sprintf("%.3f", s.Loss)
		}
		if v := s.Validation; v != nil {
			heldOut = fmt.Sprintf("%.3f", v.Best)
			if v.Stopped {
				part += " (no better)"
			}
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", "), loss, heldOut
}

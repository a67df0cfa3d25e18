package main

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"eisft/inspect"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:      "report",
		Usage:     "write a page about a run, or about several side by side",
		ArgsUsage: "[RUN…]",
		Description: `Writes one HTML file that needs no network: losses, rates, what layers and heads keep and hear
of the memory over time, recall by distance, texts with the tokens that slots keep, time and
memory, and the configuration. Of several runs, curves are drawn together, and tables have what
differs. Without RUN it is about runs/latest.

   eisft report
   eisft report runs/a runs/b --out both.html`,
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "out", Usage: "write the page to `FILE`", DefaultText: inspect.RunPageFile + " in the first run's folder"},
			&cli.IntFlag{Name: "samples", Usage: "show `N` rows with the tokens that slots keep; 0: none", Value: 2},
			&cli.PathFlag{Name: "data", Usage: "take them from `FILE`", DefaultText: "the run's eval.data, or else data.train"},
		},
		Action: writeRunPage,
	}
}

func writeRunPage(c *cli.Context) error {
	dirs := c.Args().Slice()
	if len(dirs) == 0 {
		dirs = []string{latestRun}
	}
	o := inspect.RunPageOptions{Samples: c.Int("samples"), Data: c.Path("data")}
	switch {
	case o.Samples < 0:
		return usagef(c, "--samples is %d; want 0 or more", o.Samples)
	case o.Samples == 0 && o.Data != "":
		return usagef(c, "--samples 0 shows no rows of --data; leave one of them out")
	}
	out := c.Path("out")
	if out == "" {
		out = filepath.Join(dirs[0], inspect.RunPageFile)
	}
	if err := inspect.WriteRunPage(c.Context, out, dirs, o); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.App.Writer, out)
	return err
}

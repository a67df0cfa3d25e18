package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/eval"
)

// configured stands in the help for a default that the configuration has.
const configured = "the configuration's"

func evalCommand() *cli.Command {
	return &cli.Command{
		Name:  "eval",
		Usage: "measure what a model recalls of long input",
		Description: `Reads the samples of a data file, answers their questions token by token and
prints ` + metricTitles() + ` and perplexity by how far back the fact lies: near is inside
the block's window, far is beyond window and segment. What no flag says is
taken from the eval section of the run's configuration. A policy is a way to read:

` + policyTitles() + `
   eisft eval --policy window --policy edgeinfinite --samples 50`,
		Flags: append(
			runFlags(),
			&cli.PathFlag{Name: "data", Usage: "evaluate on `FILE` (.parquet, .jsonl, .jsonl.gz or .json)"},
			&cli.StringSliceFlag{Name: "policy", Usage: "read under policy `NAME`; may be given several times"},
			&cli.IntFlag{Name: "samples", Usage: "use only the first `N` samples; 0: all", DefaultText: configured},
			&cli.IntFlag{Name: "max-new-tokens", Usage: "cut answers at `N` tokens", DefaultText: configured},
			&cli.PathFlag{Name: "json", Usage: "write scores and every answer to `FILE`"},
		),
		Action: evaluate,
	}
}

// metricTitles lists the metrics for the help.
func metricTitles() string {
	var titles []string
	for _, m := range eval.Metrics() {
		titles = append(titles, m.Title())
	}
	return strings.Join(titles, ", ")
}

// policyNames lists the policies for the help of a flag.
func policyNames() string {
	var names []string
	for _, p := range eval.Policies() {
		names = append(names, string(p))
	}
	return strings.Join(names, ", ")
}

// policyTitles lists the policies for the help, a line each.
func policyTitles() string {
	var lines strings.Builder
	for _, p := range eval.Policies() {
		fmt.Fprintf(&lines, "   %-14s %s\n", p, p.Title())
	}
	return lines.String()
}

func evaluate(c *cli.Context) error {
	if err := checkFile("json", c.Path("json")); err != nil {
		return err
	}
	run, err := openRun(c)
	if err != nil {
		return err
	}
	section, err := evalSection(c, run.Config.Eval)
	if err != nil {
		return err
	}
	if err := eval.Announce(section, c.App.ErrWriter); err != nil {
		return err
	}
	m, streams, err := asTrained(c, run)
	if err != nil {
		return err
	}
	results, err := eval.Evaluate(c.Context, m, run.Tokenizer, run.Template, section, streams, c.App.ErrWriter)
	if err != nil {
		return err
	}
	if err := eval.WriteTable(c.App.Writer, results); err != nil || c.Path("json") == "" {
		return err
	}
	return writeJSON(c.Path("json"), results)
}

// evalSection puts the flags over a configuration's section.
func evalSection(c *cli.Context, e eval.Config) (eval.Config, error) {
	if c.IsSet("data") {
		e.Data = c.Path("data")
	}
	if c.IsSet("samples") {
		e.Samples = c.Int("samples")
	}
	if c.IsSet("max-new-tokens") {
		e.MaxNewTokens = c.Int("max-new-tokens")
	}
	if c.IsSet("policy") {
		e.Policies = nil
		for _, p := range c.StringSlice("policy") {
			e.Policies = append(e.Policies, eval.Policy(p))
		}
	}
	switch {
	case e.Data == "":
		return e, usagef(c, "there is nothing to evaluate on: the configuration has no eval.data; give --data FILE")
	case e.Samples < 0:
		return e, usagef(c, "--samples is %d; it must be at least 1, or 0 for all", e.Samples)
	case e.MaxNewTokens < 1:
		return e, usagef(c, "--max-new-tokens is %d; it must be at least 1", e.MaxNewTokens)
	}
	return e, nil
}

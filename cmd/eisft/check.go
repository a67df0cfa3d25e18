package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"eisft/export"
	"eisft/export/check"
	"eisft/internal/enum"
	"eisft/model"
	"eisft/model/hf"
	"eisft/quant"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check exported graphs and compare them with the Go model",
		ArgsUsage: "FOLDER",
		Description: `Holds the graphs in a folder, or a single .onnx or .tflite file, to the contract,
to the folder's manifest and, with --target, to a vendor's rules. Compares every scale,
zero point and code of quantized graphs with those of the run's quantized model. Then
loads them in ONNX Runtime, at all its levels of optimization, or in LiteRT, and compares
their logits with those of the run they were made from.

   eisft check --explain mask-bytes

says where a rule comes from.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "explain", Usage: "say what `RULE` asks, why, and where that is from, and check nothing"},
			&cli.BoolFlag{Name: "rules", Usage: "list all rules, and check nothing"},
			&cli.StringFlag{Name: "target", Usage: "check the rules of `VENDOR` too: " + enum.List(check.Targets()), DefaultText: "those of the target that the folder was made for"},
			&cli.PathFlag{Name: "run", Usage: "compare with the trained run in `FOLDER`; the default is the run that the graphs lie in"},
			modelFlag(),
			quantFlag(),
		},
		Action: checkGraphs,
	}
}

func checkGraphs(c *cli.Context) error {
	if name := c.String("explain"); name != "" {
		rule, err := check.FindRule(name)
		if err != nil {
			return usagef(c, "--explain: %w", err)
		}
		return rule.Explain(c.App.Writer)
	}
	if c.Bool("rules") {
		return listRules(c.App.Writer)
	}
	if c.NArg() != 1 {
		return usagef(c, "name one exported folder, or an .onnx or .tflite file")
	}
	path, err := hf.Snapshot(c.Args().First())
	if err != nil {
		return err
	}
	target, err := check.ParseTarget(c.String("target"))
	if err != nil {
		return usagef(c, "--%w", err)
	}
	against := export.Against{Load: true}
	if dir := c.Path("run"); dir != "" || inRun(path, &dir) {
		run, err := openFolder(c, dir)
		if err != nil {
			return err
		}
		against.Model = run.Model
		if against.Quantized, err = openQuantized(c, run); err != nil {
			return err
		}
	} else if dir := c.Path("quant"); dir != "" && dir != "none" {
		if against.Quantized, err = quant.Load(dir); err != nil {
			return err
		}
	}
	report, err := export.Check(c.Context, path, target, against)
	if err != nil {
		return err
	}
	if err := report.WriteTable(c.App.Writer); err != nil {
		return err
	}
	return report.Err()
}

// listRules writes all rules with the targets that they are for.
func listRules(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "rule\ttargets\twhat it asks")
	for _, r := range check.Rules() {
		targets := "all"
		if len(r.Targets) > 0 {
			targets = enum.List(r.Targets)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", r.Name, targets, r.What)
	}
	return table.Flush()
}

// inRun finds the run whose export folder holds the path.
func inRun(path string, run *string) bool {
	folder, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	*run = filepath.Dir(filepath.Dir(folder))
	_, err = os.Stat(filepath.Join(*run, model.AdapterConfig))
	return err == nil
}

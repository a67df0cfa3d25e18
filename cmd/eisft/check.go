package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"eisft/export"
	"eisft/export/check"
	"eisft/internal/enum"
	"eisft/model/hf"
	"eisft/quant"
	"eisft/train/runs"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check exported graphs and compare them with the Go model",
		ArgsUsage: "FOLDER",
		Description: `Holds the graphs in a folder, or a single .onnx file, to the fixed-shape contract,
to the folder's manifest and, with --target, to a vendor's rules. Compares every scale,
zero point and code of quantized graphs with those of the run's quantized model. Then
loads them in ONNX Runtime and compares their logits with those of the run they were
made from.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "target", Usage: "check the rules of `VENDOR` too: " + enum.List(check.Targets())},
			&cli.PathFlag{Name: "run", Usage: "compare with the trained run in `FOLDER`; the default is the run that the graphs lie in"},
			quantFlag(),
		},
		Action: checkGraphs,
	}
}

func checkGraphs(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef(c, "name one exported folder or .onnx file")
	}
	path, err := hf.Snapshot(c.Args().First())
	if err != nil {
		return err
	}
	target, err := check.ParseTarget(c.String("target"))
	if err != nil {
		return usagef(c, "--%w", err)
	}
	var against export.Against
	if dir := c.Path("run"); dir != "" || inRun(path, &dir) {
		run, err := runs.Open(dir)
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

// inRun finds the run whose export folder holds the path.
func inRun(path string, run *string) bool {
	folder, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	*run = filepath.Dir(filepath.Dir(folder))
	_, err = os.Stat(filepath.Join(*run, runs.ConfigFile))
	return err == nil
}

package main

import (
	"encoding/json"

	"github.com/urfave/cli/v2"

	"eisft/inspect"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "say what a file or folder is, and what is wrong with it",
		ArgsUsage: "PATH",
		Description: `Describes a base model (a folder or .gguf file), an adapter, a run with the table of
what was gained, a data file (.parquet, .jsonl, .json, .csv, .txt; all but the first also .gz or .zst),
a quantized model, exported graphs (a folder, or an .onnx or .tflite file), a configuration, a saved state
or any other .safetensors file. The exit
code is 1 if something is wrong with it.

   eisft inspect runs/latest
   eisft inspect --model model/demo data/demo/train.parquet`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print JSON for other programs"},
			&cli.PathFlag{Name: "model", Usage: "count a data file's tokens with the tokenizer of the model in `FOLDER`; of a run or an adapter, that is where its base is"},
		},
		Action: inspectPath,
	}
}

func inspectPath(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef(c, "name one file or folder")
	}
	report, err := inspect.Path(c.Context, c.Args().First(), inspect.Options{Model: c.Path("model")})
	if err != nil {
		return err
	}
	return writeReport(c, report)
}

// writeReport prints a report, as JSON with --json, and fails if it has problems.
func writeReport(c *cli.Context, report *inspect.Report) (err error) {
	if c.Bool("json") {
		e := json.NewEncoder(c.App.Writer)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		err = report.WriteText(c.App.Writer)
	}
	if err != nil {
		return err
	}
	return report.Err()
}

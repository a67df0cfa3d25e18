package main

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"eisft/internal/enum"
	"eisft/quant"
	"eisft/train/runs"
)

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name:  "quantize",
		Usage: "quantize a trained run",
		Description: `Streams calibration samples through a run's model, segment by segment as on a
phone, chooses the scales of weights and activations, and evaluates the model
before and after. Writes the quantized weights, their encodings and a report
(report.html) into quant/SCHEME of the run's folder.

   eisft quantize --calib data.parquet`,
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "calib", Usage: "calibrate on `FILE` (.parquet, .jsonl, .jsonl.gz or .json), whose columns are as in the configuration's data section (required)"},
			&cli.IntFlag{Name: "samples", Usage: "calibrate on the first `N` samples; 0: all", Value: 16},
			&cli.PathFlag{Name: "run", Usage: "quantize the trained run in `FOLDER`", Value: latestRun},
			&cli.StringFlag{Name: "scheme", Usage: "which tensors get how many bits: " + enum.List(quant.SchemeNames()), Value: "w8a16"},
			&cli.StringFlag{Name: "range", Usage: "how the range of an activation is chosen: " + enum.List(quant.RangeNames()), Value: string(quant.RangeMinMax)},
			&cli.PathFlag{Name: "eval-data", Usage: "evaluate on `FILE`", DefaultText: configured},
			&cli.IntFlag{Name: "eval-samples", Usage: "evaluate on the first `N` samples; 0: all", Value: 32},
		},
		Action: quantize,
	}
}

func quantize(c *cli.Context) error {
	job, run, err := quantizeJob(c)
	if err != nil {
		return err
	}
	report, err := job.Run(c.Context)
	if err != nil {
		return err
	}
	if run.Config.Model.Quantized.Folder != "" {
		q, err := quant.Load(job.Dir)
		if err != nil {
			return err
		}
		sayPair(c, run, q)
	}
	for _, w := range report.Calibration.Warnings {
		warn(c, w)
	}
	if err := report.WriteTable(c.App.Writer); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "\n%s\n", filepath.Join(job.Dir, quant.PageFile))
	return err
}

// quantizeJob is what the command line asks for, and the run that it is for.
func quantizeJob(c *cli.Context) (*quant.Job, *runs.Run, error) {
	calib, err := required(c, "calib")
	if err != nil {
		return nil, nil, err
	}
	scheme, err := quant.ParseScheme(c.String("scheme"))
	if err != nil {
		return nil, nil, usagef(c, "--%w", err)
	}
	bounds, err := quant.ParseRange(c.String("range"))
	if err != nil {
		return nil, nil, usagef(c, "--%w", err)
	}
	for _, name := range []string{"samples", "eval-samples"} {
		if n := c.Int(name); n < 0 {
			return nil, nil, usagef(c, "--%s is %d; it must be at least 1, or 0 for all", name, n)
		}
	}
	run, err := openRun(c)
	if err != nil {
		return nil, nil, err
	}
	section := run.Config.Eval
	if c.IsSet("eval-data") {
		section.Data = c.Path("eval-data")
	}
	return &quant.Job{
		Model: run.Model, Tokenizer: run.Tokenizer, Template: run.Template, Scheme: scheme, Range: bounds,
		Calibration:  quant.File{Path: calib, Options: run.Config.Data.Options, Samples: c.Int("samples")},
		Evaluation:   quant.File{Path: section.Data, Options: section.Options, Samples: c.Int("eval-samples")},
		MaxNewTokens: section.MaxNewTokens,
		Dir:          filepath.Join(run.Dir, "quant", scheme.Name),
		Progress:     c.App.ErrWriter,
	}, run, nil
}

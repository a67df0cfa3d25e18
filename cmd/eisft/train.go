package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/urfave/cli/v2"

	"eisft/internal/progress"
	"eisft/internal/ranks"
	"eisft/train"
	"eisft/train/config"
	"eisft/train/runs"
)

func trainCommand() *cli.Command {
	return &cli.Command{
		Name:  "train",
		Usage: "train the module beside each attention layer",
		Description: `Runs the stages of a configuration (distillation, S-SFT) on a frozen base and
writes a run folder: the resolved configuration, the adapter, metrics and an
evaluation before and after. Ctrl-C stops at the last whole step; the same
command with --resume goes on exactly there.

Before the first step it says which rows are used, how long each stage will take and
how much memory, from one step on the longest sample; --dry-run says that and ends.

   eisft train --config configs/s-sft.yaml

Several processes train one run together over Open MPI, the same bits as one:

   mpirun -n 4 eisft train --config configs/s-sft.yaml`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "read the configuration from `FILE`; a bare name is also looked for in the configs folder (required)"},
			setFlag(),
			&cli.StringFlag{Name: "from-quantized", Usage: "train beside the quantized model in `FOLDER`, or that of a scheme in the newest run's folder: the base has the weights that its codes stand for", DefaultText: configured},
			&cli.BoolFlag{Name: "resume", Usage: "go on with the run of this configuration that was stopped last"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, how long it would take and in how much memory, and train nothing"},
		},
		Action: func(c *cli.Context) error {
			cfg, err := trainConfig(c)
			if err := ranks.Tell(group(c), err); err != nil {
				return err
			}
			options := train.Options{
				Resume: c.Bool("resume"), Group: group(c), Quantized: openQuantizedBase, Progress: c.App.ErrWriter, Warn: func(message string) { warn(c, message) },
				Note: func(message string) { progress.Println(c.App.ErrWriter, "eisft: "+message) },
			}
			if c.Bool("dry-run") {
				if options.Resume {
					return usagef(c, "--dry-run says what a new run would do; leave --resume out")
				}
				if group(c).Rank() > 0 {
					return nil // what it measured would slow down what rank 0 measures
				}
				plan, err := train.Plan(c.Context, cfg, options)
				if err != nil {
					return err
				}
				return plan.Write(c.App.Writer)
			}
			run, err := train.Train(c.Context, cfg, options)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "%s: %d parameters trained beside a frozen base of %d (%.2f %%)\n", run.Dir, run.Model.Params.Count(),
				run.Model.Base.Parameters(), 100*float64(run.Model.Params.Count())/float64(run.Model.Base.Parameters()))
			return writeEvaluation(c.App.Writer, run.Dir)
		},
	}
}

// trainConfig is the configuration that the command line asks for.
func trainConfig(c *cli.Context) (*config.Config, error) {
	name, err := required(c, "config")
	if err != nil {
		return nil, err
	}
	cfg, err := loadConfig(c, name)
	if err != nil || !c.IsSet("from-quantized") {
		return cfg, err
	}
	folder, err := quantizedFolder(c, cfg)
	if err != nil {
		return nil, err
	}
	cfg.Model.Quantized = config.Quantized{Folder: folder, WeightsOnly: cfg.Model.Quantized.WeightsOnly}
	return cfg, nil
}

// writeEvaluation prints a run's evaluation, if its configuration has one.
func writeEvaluation(w io.Writer, dir string) error {
	e, err := runs.ReadEvaluation(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return e.WriteTable(w)
}

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

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
		Description: `Runs the stages of a configuration on a frozen base: distill fits the modules to
the base's own attention, prune takes slots from layers that do not need them, s-sft
learns answers. eisft config init writes a configuration in which every key is explained.

The run's folder is runs/NAME, NAME being that of the configuration: it has the configuration with all defaults, the
adapter (the trained parameters), metrics, and an evaluation before and after. When all is done, runs/latest points to it.
Ctrl-C stops at the last whole step; the same command with --resume goes on exactly
there. Keys that the configuration does not give stay as the run was started with.

Before the first step it says which rows are used, how long each stage will take and
how much memory, from one step on the longest sample; --dry-run says that and ends.

   eisft train --config configs/s-sft.yaml

With more steps in the last stage, or more stages behind it, a finished run goes on by
--extend: the optimizer goes on as it was, and the learning rates follow the longer
schedule from where it stands, so that they rise again. --adapter begins a new run from
the parameters of another one's adapter.

   eisft train --config s.yaml --set stages.2.steps=100 --extend

Several processes train one run together over Open MPI, the same bits as one:

   mpirun -n 4 eisft train --config configs/s-sft.yaml`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "read the configuration from `FILE`; a bare name is also looked for in the configs folder (required)"},
			setFlag(),
			&cli.StringFlag{Name: "from-quantized", Usage: "train beside the quantized model in `FOLDER`, or that of a scheme in the newest run's folder: the base has the weights that its codes stand for", DefaultText: configured},
			&cli.PathFlag{Name: "adapter", Usage: "begin with the parameters of the adapter in `FOLDER`, such as that of another run", DefaultText: configured},
			&cli.BoolFlag{Name: "extend", Usage: "go on with the run of this configuration that was finished last, of which the configuration has more steps or stages"},
			&cli.BoolFlag{Name: "resume", Usage: "go on with the run of this configuration that was stopped last"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, how long it would take and in how much memory, and train nothing"},
		},
		Action: func(c *cli.Context) error {
			cfg, written, err := trainConfig(c)
			if err := ranks.Tell(group(c), err); err != nil {
				return err
			}
			options := train.Options{
				Resume: c.Bool("resume"), Extend: c.Bool("extend"), Written: written, Group: group(c), Quantized: openQuantizedBase, Progress: c.App.ErrWriter, Warn: func(message string) { warn(c, message) },
				Note: func(message string) { progress.Println(c.App.ErrWriter, "eisft: "+message) },
			}
			if options.Resume && options.Extend {
				return usagef(c, "--resume goes on with a run that was stopped, --extend with one that was finished; leave one of them out")
			}
			if c.Bool("dry-run") {
				if options.Resume || options.Extend {
					return usagef(c, "--dry-run says what a new run would do; leave --resume and --extend out")
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
			sweep(run)
			fmt.Fprintf(c.App.Writer, "%s: %d parameters trained beside a frozen base of %d (%.2f %%)\n", run.Dir, run.Model.Params.Count(),
				run.Model.Base.Parameters(), 100*float64(run.Model.Params.Count())/float64(run.Model.Base.Parameters()))
			writeValidations(c.App.Writer, run.Dir)
			return writeEvaluation(c.App.Writer, run.Dir)
		},
	}
}

// trainConfig is the configuration that the command line asks for, and which of its keys are given.
func trainConfig(c *cli.Context) (*config.Config, config.Written, error) {
	name, err := required(c, "config")
	if err != nil {
		return nil, nil, err
	}
	cfg, written, err := loadWritten(c, name)
	if err != nil {
		return nil, nil, err
	}
	if c.IsSet("adapter") {
		written["model.adapter"] = true
		if cfg.Model.Adapter, err = filepath.Abs(c.Path("adapter")); err != nil {
			return nil, nil, err
		}
	}
	if !c.IsSet("from-quantized") {
		return cfg, written, nil
	}
	folder, err := quantizedFolder(c, cfg)
	if err != nil {
		return nil, nil, err
	}
	written["model.quantized.folder"] = true
	cfg.Model.Quantized = config.Quantized{Folder: folder, WeightsOnly: cfg.Model.Quantized.WeightsOnly}
	return cfg, written, nil
}

// writeValidations says what held-out rows have said of a run's stages.
func writeValidations(w io.Writer, dir string) {
	for i, s := range runs.Summarize(dir).Stages {
		v := s.Validation
		if v == nil {
			continue
		}
		fmt.Fprintf(w, "stage %d (%s): best loss on held-out rows %.4f after step %d of %d, %.4f at the end", i+1, s.Kind, v.Best, v.BestStep, s.Of, v.Loss)
		if s.Before != nil {
			fmt.Fprintf(w, ", %.4f before its first step", s.Before.Loss)
		}
		if v.Stopped {
			fmt.Fprintf(w, "; it ended after step %d, %d in a row being no better", s.Steps, v.Waited)
		}
		fmt.Fprintln(w)
	}
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

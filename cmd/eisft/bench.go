package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"eisft/bench"
	"eisft/internal/enum"
	"eisft/model"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:  "bench",
		Usage: "measure how fast this machine reads, trains, decodes, calibrates and exports",
		Description: `Times a model with an untrained block on random tokens, and prints for each case
the median time, tokens and floating-point operations a second, their share of what
a large matrix product reaches on this machine in the same moment, for decoding the
share of what a plain read of the weights reaches, and the most memory that was in
use.

   eisft bench
   eisft bench --model Qwen2.5-0.5B --segment 512 --case stream --case decode`,
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "model", Usage: "measure the Hugging Face model in `FOLDER`", Value: "model/demo"},
			&cli.StringFlag{Name: "dtype", Usage: "hold the weights `HOW`: auto, float32 or stored, as model.dtype in a configuration", Value: string(model.DTypeAuto)},
			&cli.StringFlag{Name: "preset", Usage: "read with the block `NAME`", Value: "eisft"},
			&cli.IntFlag{Name: "segment", Usage: "read `N` tokens at a time", DefaultText: "the preset's"},
			&cli.StringSliceFlag{Name: "case", Usage: "run only cases whose names begin with `NAME`; may be given several times"},
			&cli.IntFlag{Name: "runs", Usage: "time each case `N` times", Value: 5},
			&cli.Uint64Flag{Name: "seed", Usage: "draw the same tokens for the same `NUMBER`"},
			&cli.PathFlag{Name: "json", Usage: "write the figures to `FILE`"},
		},
		Action: runBench,
	}
}

func runBench(c *cli.Context) error {
	if err := checkFile("json", c.Path("json")); err != nil {
		return err
	}
	m, err := benchModel(c)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "eisft-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }() // of the system's temporary folder
	report, err := bench.Run(c.Context, m, bench.Options{
		Cases: c.StringSlice("case"), Runs: c.Int("runs"), Seed: c.Uint64("seed"),
		Scratch: scratch, BaseDir: c.Path("model"), Progress: c.App.ErrWriter,
	})
	if err != nil {
		return err
	}
	if err := report.WriteTable(c.App.Writer); err != nil || c.Path("json") == "" {
		return err
	}
	return writeJSON(c.Path("json"), report)
}

// maxSegment is more than any base was trained for.
const maxSegment = 1 << 20

// benchModel opens the base with an untrained block.
func benchModel(c *cli.Context) (*model.Model, error) {
	spec, err := model.Preset(c.String("preset"))
	if err != nil {
		return nil, usagef(c, "--%w", err)
	}
	if c.IsSet("segment") {
		if spec.Segment = c.Int("segment"); spec.Segment > maxSegment {
			return nil, usagef(c, "--segment is %d; it must be at most %d", spec.Segment, maxSegment)
		}
	}
	if err := spec.Validate(); err != nil {
		return nil, usagef(c, "--%w", err)
	}
	dtype := model.DType(c.String("dtype"))
	if err := enum.Check("--dtype", dtype, model.DTypes()...); err != nil {
		return nil, usagef(c, "%w", err)
	}
	base, err := model.LoadBase(c.Path("model"))
	if err != nil {
		return nil, err
	}
	base.Hold(dtype)
	return model.New(base, spec, nil)
}

package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"eisft/bench"
	"eisft/eval"
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

With --policy it times policies (see eisft eval) instead: for an input of each length, the
time to the first token of the answer, tokens a second read and written, the bytes of the
state, and the most memory that was in use.

   eisft bench
   eisft bench --model Qwen2.5-0.5B --segment 512 --case stream --case decode
   eisft bench --policy full --policy eisft --tokens 2048 --tokens 8192 --runs 1`,
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "model", Usage: "measure the Hugging Face model in `FOLDER`", Value: "model/demo"},
			&cli.StringFlag{Name: "dtype", Usage: "hold the weights `HOW`: auto, float32 or stored, as model.dtype in a configuration", Value: string(model.DTypeAuto)},
			&cli.StringFlag{Name: "preset", Usage: "read with the block `NAME`", Value: "eisft"},
			&cli.IntFlag{Name: "segment", Usage: "read `N` tokens at a time", DefaultText: "the preset's"},
			&cli.StringSliceFlag{Name: "case", Usage: "run only cases whose names begin with `NAME`; may be given several times"},
			&cli.StringSliceFlag{Name: "policy", Usage: "time readings under policy `NAME`, one of " + policyNames() + "; may be given several times"},
			&cli.StringFlag{Name: "cache", Usage: "hold keys and values of what is read as `TYPE`: " + enum.List(model.CacheTypes()), Value: string(model.CacheFloat32)},
			&cli.IntSliceFlag{Name: "tokens", Usage: "with --policy: read `N` tokens; may be given several times", DefaultText: "2048, 8192, 32768, 131072"},
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
	switch {
	case c.IsSet("policy") && c.IsSet("case"):
		return usagef(c, "--policy and --case are both given; give one of them")
	case c.IsSet("tokens") && !c.IsSet("policy"):
		return usagef(c, "--tokens is given without --policy; the cases have lengths of their own")
	}
	m, err := benchModel(c)
	if err != nil {
		return err
	}
	cache, err := cacheOf(c, m.Base, "")
	if err != nil {
		return err
	}
	options := bench.Options{
		Cases: c.StringSlice("case"), Runs: c.Int("runs"), Seed: c.Uint64("seed"), Cache: cache,
		BaseDir: c.Path("model"), Progress: c.App.ErrWriter,
	}
	if c.IsSet("policy") {
		return runCosts(c, m, options)
	}
	if options.Scratch, err = os.MkdirTemp("", "eisft-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(options.Scratch) }() // of the system's temporary folder
	report, err := bench.Run(c.Context, m, options)
	if err != nil {
		return err
	}
	if err := report.WriteTable(c.App.Writer); err != nil || c.Path("json") == "" {
		return err
	}
	return writeJSON(c.Path("json"), report)
}

// costLengths are the lengths that policies are timed at.
var costLengths = []int{2048, 8192, 32768, 131072}

// runCosts times policies.
func runCosts(c *cli.Context, m *model.Model, options bench.Options) error {
	lengths := costLengths
	if c.IsSet("tokens") {
		lengths = c.IntSlice("tokens")
	}
	var policies []bench.Policy
	for _, name := range c.StringSlice("policy") {
		reads, err := eval.WithPolicy(m, eval.Policy(name))
		if err != nil {
			return err
		}
		policies = append(policies, bench.Policy{Name: name, Model: reads})
	}
	costs, err := bench.Costs(c.Context, policies, lengths, options)
	if err != nil {
		return err
	}
	if err := bench.WriteCosts(c.App.Writer, costs); err != nil || c.Path("json") == "" {
		return err
	}
	return writeJSON(c.Path("json"), costs)
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

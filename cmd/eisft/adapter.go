package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"eisft/inspect"
	"eisft/internal/enum"
	"eisft/model"
	"eisft/train/runs"
)

func adapterCommand() *cli.Command {
	return &cli.Command{
		Name:  "adapter",
		Usage: "look at trained parameters, compare them, pass them on",
		Description: `An adapter is what training made: adapter.safetensors and adapter_config.json in one
folder, that of the run. These two files alone are enough wherever a run is: with --run
FOLDER, and --model PATH where the base is not where the adapter says.`,
		Subcommands: []*cli.Command{
			{
				Name:      "show",
				Usage:     "say what an adapter is",
				ArgsUsage: "FOLDER",
				Description: `Prints the base of an adapter, the block, the tensors, and how large these are by kind
and by layer. FOLDER is a run's, or that of an adapter alone. The exit code is 1 if
something is wrong with it, or with its base.`,
				Flags:  []cli.Flag{modelFlag(), jsonFlag()},
				Action: showAdapter,
			},
			{
				Name:      "diff",
				Usage:     "say in what two adapters differ",
				ArgsUsage: "A B",
				Description: `Prints in what bases and blocks differ, which tensors only one of two adapters has, and how
far the others are from each other by kind and by layer: ‖B-A‖/‖A‖.`,
				Flags:  []cli.Flag{jsonFlag()},
				Action: diffAdapters,
			},
			{
				Name:      "convert",
				Usage:     "write an adapter into a folder of its own",
				ArgsUsage: "FROM TO",
				Description: `Takes the adapter out of the run or folder FROM and writes it into TO, in the newest
format: so runs are passed on, and adapters of earlier versions renewed. --type float16
halves the file; what is computed is then that of the rounded numbers. Where the base is
there, or --model names it, it is checked, and TO names it by today's identity.

   eisft adapter convert runs/latest my-adapter --type float16`,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "type", Usage: "store numbers as `TYPE`: " + enum.List(model.AdapterTypes()), Value: string(model.AdapterF32)},
					modelFlag(),
				},
				Action: convertAdapter,
			},
		},
		ArgsUsage: "COMMAND",
		Action:    noCommand,
	}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON for other programs"}
}

func showAdapter(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef(c, "name one folder")
	}
	report, err := inspect.Adapter(c.Context, c.Args().First(), inspect.Options{Model: c.Path("model")})
	if err != nil {
		return err
	}
	return writeReport(c, report)
}

func diffAdapters(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef(c, "name two folders; there are %d", c.NArg())
	}
	report, err := inspect.AdapterDiff(c.Args().Get(0), c.Args().Get(1))
	if err != nil {
		return err
	}
	return writeReport(c, report)
}

func convertAdapter(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef(c, "name two folders, from and to; there are %d", c.NArg())
	}
	from, to, t := c.Args().Get(0), c.Args().Get(1), model.AdapterType(c.String("type"))
	if err := enum.Check("type", t, model.AdapterTypes()...); err != nil {
		return usagef(c, "--%w", err)
	}
	from, err := filepath.EvalSymlinks(from) // runs/latest: paths in a run are relative to the run
	if err != nil {
		return err
	}
	base, path, err := baseOf(c, from)
	if err != nil {
		return err
	}
	if err := model.ConvertAdapter(from, to, t, base, path); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, to)
	return err
}

// baseOf opens the base of the adapter in a folder, nil if it is not where the adapter says.
func baseOf(c *cli.Context, dir string) (*model.Base, string, error) {
	cfg, err := runs.Configuration(dir)
	if err != nil {
		return nil, "", err
	}
	path := c.Path("model")
	if path == "" {
		path = cfg.Model.Path
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			warn(c, fmt.Sprintf("the base is not at %s, so that the adapter cannot be held to it; --model says where it is", path))
			return nil, "", nil
		}
	}
	base, err := model.LoadBase(path, cfg.Model.Ignore...)
	return base, path, err
}

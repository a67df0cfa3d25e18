package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/enum"
	"eisft/internal/relpath"
	"eisft/quant"
	"eisft/quant/fit"
	"eisft/train/runs"
)

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name:  "quantize",
		Usage: "quantize a trained run",
		Description: `Streams calibration samples through a run's model, segment by segment as on a
phone, chooses the scales of weights and activations, and evaluates the model
before and after. Writes the quantized weights, their encodings and a report
(report.html) into quant/NAME of the run's folder.

   eisft quantize --calib data.parquet
   eisft quantize --calib data.parquet --recipe w4a16-lpbq32.yaml

A recipe names scheme and methods; configs/quant has some, and recipe.yaml there
explains every key. Flags override its keys.`,
		Flags: []cli.Flag{
			filesFlag("calib", "calibrate on `FILE` ("+data.EndingsForHelp()+", or a pattern of names), whose columns are as in the configuration's data section; may be given several times (required)", ""),
			&cli.PathFlag{Name: "recipe", Usage: "quantize as the recipe `FILE` says, or the one of that name in configs/quant"},
			&cli.IntFlag{Name: "samples", Usage: "calibrate on the first `N` samples; 0: all", DefaultText: "the recipe's, or 16"},
			runFlag("quantize"),
			modelFlag(),
			&cli.StringFlag{Name: "scheme", Usage: "quantize by `SCHEME`: " + enum.List(quant.SchemeNames()), DefaultText: "the recipe's, or w8a16"},
			&cli.StringFlag{Name: "target", Usage: "make graphs for `TARGET`: " + enum.List(quant.Targets()), DefaultText: "the recipe's, or any"},
			&cli.StringFlag{Name: "range", Usage: "choose the range of an activation by `RULE`: " + enum.List(quant.RangeNames()), DefaultText: "the recipe's, or minmax"},
			&cli.StringFlag{Name: "transform", Usage: "rewrite the float model first by `LIST`: " + enum.List(quant.TransformNames()) + ", or none", DefaultText: "the recipe's"},
			&cli.StringFlag{Name: "weights", Usage: "choose scales and codes of weights by `RULE`: " + enum.List(quant.RoundingNames()), DefaultText: "the recipe's, or rtn"},
			&cli.StringFlag{Name: "cache", Usage: "store keys and values in `WIDTH`: auto, int8 or int16", DefaultText: "the recipe's, or the scheme's"},
			&cli.IntFlag{Name: "reconstruct", Usage: "fit each block to the float one in `N` steps; 0: not", DefaultText: "the recipe's, or 0"},
			&cli.IntFlag{Name: "sensitivity", Usage: "measure what each map costs on `N` tokens of the calibration data; 0: not", DefaultText: "the recipe's, or 0"},
			&cli.Int64Flag{Name: "seed", Usage: "choose what is random by `N`", DefaultText: "the recipe's, or 0"},
			&cli.StringFlag{Name: "name", Usage: "write quant/`NAME` of the run's folder", DefaultText: "the recipe's, or the scheme"},
			filesFlag("eval-data", "evaluate on `FILE`, or a pattern of names; may be given several times; none: on nothing", "the recipe's, or the configuration's eval.data, or the rows that its validation holds out"),
			&cli.IntFlag{Name: "eval-samples", Usage: "evaluate on the first `N` samples; 0: as many as it takes for 150 questions near and far", DefaultText: "the recipe's, or 0"},
			&cli.BoolFlag{Name: "ablation", Usage: "measure what each method of the recipe gains, which takes as long as all of them one after the other"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and how large the model would be"},
		},
		Action: quantize,
	}
}

func quantize(c *cli.Context) error {
	job, run, err := quantizeJob(c)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		plan, err := job.Plan(c.Context)
		if err != nil {
			return err
		}
		return plan.Write(c.App.Writer)
	}
	sweep(run)
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
	for _, w := range report.Warnings() {
		warn(c, w)
	}
	if err := report.WriteTable(c.App.Writer); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "\n%s\n", filepath.Join(job.Dir, quant.PageFile))
	return err
}

// overrides are the recipe's keys that flags give.
func overrides(c *cli.Context) ([]quant.Override, error) {
	var list []quant.Override
	var bad error
	add := func(flag, key string, check func() error, set func(*quant.Recipe)) {
		if !c.IsSet(flag) || bad != nil {
			return
		}
		if err := check(); err != nil {
			bad = usagef(c, "--%w", err)
			return
		}
		list = append(list, quant.Override{Key: key, Flag: "--" + flag, Set: set})
	}
	word := func(flag, key string, names []string, set func(*quant.Recipe, string)) {
		v := c.String(flag)
		add(flag, key, func() error { return enum.Check(flag, v, names...) }, func(r *quant.Recipe) { set(r, v) })
	}
	number := func(flag, key string, what string, set func(*quant.Recipe, int)) {
		v := c.Int(flag)
		add(flag, key, func() error {
			if v < 0 {
				return fmt.Errorf("%s is %d; it must be at least 1, or 0 for %s", flag, v, what)
			}
			return nil
		}, func(r *quant.Recipe) { set(r, v) })
	}
	free := func() error { return nil }
	word("scheme", "scheme", quant.SchemeNames(), func(r *quant.Recipe, v string) { r.Scheme = v })
	word("target", "target", quant.Targets(), func(r *quant.Recipe, v string) { r.Target = v })
	word("weights", "weights", quant.RoundingNames(), func(r *quant.Recipe, v string) { r.Weights = v })
	bounds := c.String("range")
	add("range", "ranges", func() error { _, err := quant.ParseRange(bounds); return err }, func(r *quant.Recipe) { r.Ranges = quant.Range(bounds) })
	cache := c.String("cache")
	add("cache", "cache", func() error { _, err := quant.ParseCache(cache); return err }, func(r *quant.Recipe) { r.Cache = quant.Cache(cache) })
	named := c.String("transform")
	transforms := list0(named)
	add("transform", "transforms", func() error {
		if named == "" {
			return fmt.Errorf("transform is empty; name one or more of %s, or none", enum.List(quant.TransformNames()))
		}
		for _, t := range transforms {
			if err := enum.Check("transform", t, quant.TransformNames()...); err != nil {
				return fmt.Errorf("%w, or none alone", err)
			}
		}
		return nil
	}, func(r *quant.Recipe) { r.Transforms = transforms })
	number("samples", "samples", "all", func(r *quant.Recipe, v int) { r.Samples = v })
	number("reconstruct", "reconstruct", "none", func(r *quant.Recipe, v int) { r.SetReconstruction(v) })
	number("sensitivity", "sensitivity", "none", func(r *quant.Recipe, v int) { r.Sensitivity = v })
	number("eval-samples", "eval.samples", "as many as it takes for 150 questions near and far", func(r *quant.Recipe, v int) { r.Eval.Samples = v })
	seed, name := c.Int64("seed"), c.String("name")
	add("seed", "seed", free, func(r *quant.Recipe) { r.Seed = seed })
	add("name", "name", free, func(r *quant.Recipe) { r.Name = name })
	return list, bad
}

// list0 cuts a list at its commas; none is an empty one.
func list0(text string) []string {
	if text == "none" {
		return nil
	}
	return strings.Split(text, ",")
}

// openRecipe reads the recipe that the command line names, with its flags in place of keys.
func openRecipe(c *cli.Context) (*quant.RecipeFile, error) {
	set, err := overrides(c)
	if err != nil {
		return nil, err
	}
	path := ""
	if c.IsSet("recipe") {
		if c.Path("recipe") == "" {
			return nil, usagef(c, "--recipe is empty; name a file, or one in configs/quant")
		}
		if path, err = quant.FindRecipe(c.Path("recipe")); err != nil {
			return nil, err
		}
	}
	r, err := quant.LoadRecipe(path, set...)
	if err != nil && path == "" { // all of it is the command line's
		return nil, usagef(c, "%w", err)
	}
	return r, err
}

// quantizeJob is what the command line asks for, and the run that it is for.
func quantizeJob(c *cli.Context) (*quant.Job, *runs.Run, error) {
	recipe, err := openRecipe(c)
	if err != nil {
		return nil, nil, err
	}
	if err := calibrateOn(c, recipe.Recipe); err != nil {
		return nil, nil, err
	}
	run, err := openRun(c)
	if err != nil {
		return nil, nil, err
	}
	if err := recipe.Fit(run.Model); err != nil {
		return nil, nil, err
	}
	job, err := newQuantizeJob(c, run, recipe.Recipe)
	return job, run, err
}

// calibrateOn puts the data of --calib into a recipe.
func calibrateOn(c *cli.Context, r *quant.Recipe) error {
	if c.IsSet("calib") {
		named, err := files(c, "calib")
		if err != nil {
			return err
		}
		sayInstead(c, "calib", named, r.Calib)
		r.Calib = named
	}
	if len(r.Calib) == 0 {
		return usagef(c, "--calib is required")
	}
	return nil
}

// sayInstead says that a flag's files take the place of others that the recipe names.
func sayInstead(c *cli.Context, flag string, given, named data.Files) {
	same := slices.EqualFunc(given, named, func(a, b data.File) bool { return relpath.SameFile(a.Path, b.Path) })
	if len(named) > 0 && !same {
		warn(c, fmt.Sprintf("--%s %s takes the place of %s, which the recipe names", flag, given, named))
	}
}

// evaluateOn settles what a quantized model is evaluated on, and says so where that is nothing.
func evaluateOn(c *cli.Context, run *runs.Run, r *quant.Recipe) (eval.Config, error) {
	section, held := run.Config.Eval, run.Config.Validation.Data
	section.Samples = r.Eval.Samples
	switch {
	case c.IsSet("eval-data"):
		named, err := files(c, "eval-data")
		if err != nil {
			return section, err
		}
		sayInstead(c, "eval-data", named, r.Eval.Data)
		if section.Data = named; named.String() == "none" {
			section.Data, section.HeldOut = nil, nil
			return section, nil
		}
	case len(r.Eval.Data) > 0:
		section.Data = r.Eval.Data
	case section.Nothing() && len(held) > 0: // read as what is trained on
		section.Data, section.Options = held, run.Config.Data.Options
	}
	if section.Nothing() && r.Eval.Samples > 0 {
		warn(c, "nothing is evaluated: the run's configuration has neither eval.data nor rows held out by its validation section, and no recipe names a file of questions; name one with --eval-data")
	}
	return section, nil
}

// newQuantizeJob carries a recipe out on a run.
func newQuantizeJob(c *cli.Context, run *runs.Run, recipe *quant.Recipe) (*quant.Job, error) {
	evaluation, err := evaluateOn(c, run, recipe)
	if err != nil {
		return nil, err
	}
	job := &quant.Job{
		Model: run.Model, Tokenizer: run.Tokenizer, Template: run.Template, Recipe: recipe,
		Calibration: data.Set{Files: recipe.Calib, Options: run.Config.Data.Options, Samples: recipe.Samples},
		Evaluation:  evaluation,
		Ablation:    c.Bool("ablation"),
		Dir:         filepath.Join(run.Dir, runs.QuantDir, recipe.Name),
		Group:       group(c),
		Progress:    c.App.ErrWriter,
		Version:     version(),
		Reconstruct: fit.Reconstruct,
	}
	// An adapter alone does not say what it was trained on; rows that were held out by share are
	// about other texts than those that were.
	if len(run.Config.Data.Train) > 0 && len(evaluation.Data) > 0 {
		job.Trained = func(ctx context.Context) (*data.Source, error) {
			trained, _, err := run.Config.OpenData(ctx)
			return trained, err
		}
	}
	return job, nil
}

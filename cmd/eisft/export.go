package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/hostfiles"
	"eisft/export/lower"
	"eisft/export/plan"
	"eisft/internal/enum"
	"eisft/quant"
	"eisft/train/runs"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "write a run as ONNX graphs of fixed shape",
		Description: `Writes a prompt graph for T new tokens, a generation graph for one, and a commit
graph for the memory, over one weights file, with a manifest that tells a host how
to drive them: in float, and quantized where the run has been quantized. The graphs
are then compared with the Go model in ONNX Runtime, or LiteRT for --format tflite.

   eisft export --shape 512x2048

TxC are T new tokens, which are a segment too, beside a cache of C. Sinks and window
are those of the run, and the slots take the rest of the cache.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "shape", Usage: "export for `TxC`; may be given several times (this or --scenario is required)"},
			&cli.StringFlag{Name: "scenario", Usage: "export for the shape that eisft plan takes for the scenario `NAME` of configs/scenarios, or a file, on --device"},
			&cli.StringFlag{Name: "device", Usage: "with --scenario: the device `NAME` of configs/devices, or a file"},
			runFlag("export"),
			modelFlag(),
			quantFlag(),
			&cli.BoolFlag{Name: "quantized-only", Usage: "leave the float graphs out"},
			&cli.StringFlag{Name: "inputs", Usage: "let the graphs read `WHAT`: embeds (rows of a table that the host looks up) or ids", Value: string(lower.InputEmbeds)},
			&cli.StringFlag{Name: "logits", Usage: "let the prompt graph give logits of `WHICH` tokens: all, last or none", Value: string(lower.LogitsLast)},
			&cli.IntFlag{Name: "parts", Usage: "cut the prompt and generation graphs into `N` parts of consecutive layers, which the host runs one after another", Value: 1},
			&cli.StringSliceFlag{Name: "precision", Usage: "write the float graphs in `TYPE`: " + enum.List(export.Precisions()) + "; may be given several times", DefaultText: "float32, or float16 where the target computes floats in it"},
			&cli.StringFlag{Name: "embeddings", Usage: "store the rows of the embedding table as `TYPE`: " + enum.List(export.EmbeddingTypes()), Value: string(export.EmbedFloat16)},
			&cli.StringFlag{Name: "format", Usage: "write quantized graphs as `FORMAT`: " + enum.List(export.Formats()) + "; tflite is for float graphs, too", Value: string(export.FormatQDQ)},
			&cli.StringFlag{Name: "target", Usage: "make graphs for `TARGET` and check them by its rules: " + enum.List(check.Targets()), DefaultText: "that of the device, of the quantized model, or generic"},
			&cli.PathFlag{Name: "out", Usage: "write `FOLDER`; the default is export/TxC in the run's folder"},
			&cli.BoolFlag{Name: "replace", Usage: "put the export in the place of one that is there; a folder that holds anything else stays"},
			&cli.StringSliceFlag{Name: "host", Usage: "put a host in `LANGUAGE` beside the graphs: " + strings.Join(hostfiles.Names(), " or ") + "; may be given several times"},
			&cli.IntFlag{Name: "eval-samples", Usage: "measure what the model recalls in the sizes of each shape on `N` samples of the run's evaluation data, and write it into the manifest; 0: not, since that takes as long as eisft eval"},
			filesFlag("eval-data", "with --eval-samples: evaluate on `FILE`, or a pattern of names; may be given several times", configured),
			&cli.BoolFlag{Name: "golden", Usage: "write golden vectors, which hosts are tested with; --golden=false saves the time", Value: true},
			&cli.BoolFlag{Name: "verify", Usage: "compare the graphs with the Go model; --verify=false saves the time", Value: true},
		},
		Action: exportRun,
	}
}

// quantFlag chooses the quantized model of a run.
func quantFlag() cli.Flag {
	return &cli.PathFlag{Name: "quant", Usage: "take the quantized model in `FOLDER`, or that of this name among the run's, or none; the default is the run's own"}
}

func exportRun(c *cli.Context) error {
	options, out, err := exportOptions(c)
	if err != nil {
		return err
	}
	device, err := exportDevice(c, &options)
	if err != nil {
		return err
	}
	run, err := openFolder(c, c.Path("run"))
	if err != nil {
		return err
	}
	warnUnfinished(c, run)
	options.Name, options.BaseDir, options.RunDir = run.Config.Name, run.Config.Model.Path, run.Dir
	if run.Template != nil {
		options.TemplateOptions = run.Template.Variables()
	}
	if options.Quantized, err = openQuantized(c, run); err != nil {
		return err
	}
	if options.Target == check.NoTarget {
		options.Target = check.Generic
		if q := options.Quantized; q != nil && q.Scheme.Target != "" {
			options.Target = check.Target(q.Scheme.Target)
		}
	}
	if device != nil {
		size, err := scenarioShape(c, run.Model, device, schemeOf(options.Quantized))
		if err != nil {
			return err
		}
		options.Sizes = []export.Size{size}
	}
	sayPair(c, run, options.Quantized)
	if out == "" {
		out = filepath.Join(c.Path("run"), runs.ExportDir, strings.Join(names(options.Sizes), "_"))
	}
	sayShapes(c, run, options.Sizes)
	exists := fmt.Errorf("%w: %s; name another one with --out, or put the new export in its place with --replace", export.ErrExists, out)
	if _, err := os.Lstat(out); err == nil && !options.Replace { // before the model is evaluated
		return exists
	}
	sweep(run)
	if options.Evaluated, err = evaluateShapes(c, run, options.Sizes); err != nil {
		return err
	}
	info, report, err := export.Export(c.Context, run.Model, out, options)
	if errors.Is(err, export.ErrExists) {
		return exists
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s:\n", out)
	if err := export.WriteFiles(c.App.Writer, info); err != nil {
		return err
	}
	if err := report.WriteTable(c.App.Writer); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "\n%s\n", filepath.Join(out, export.PageFile))
	return err
}

// exportOptions are what the flags say, and the folder to write, "" for the default.
func exportOptions(c *cli.Context) (o export.Options, out string, err error) {
	o = export.Options{QuantizedOnly: c.Bool("quantized-only"), Replace: c.Bool("replace"), NoVerify: !c.Bool("verify"), NoGolden: !c.Bool("golden"), Parts: c.Int("parts")}
	if n := c.Int("eval-samples"); n < 0 {
		return o, "", usagef(c, "--eval-samples is %d; it must be at least 1, or 0 for none", n)
	}
	if o.Parts < 1 {
		return o, "", usagef(c, "--parts is %d; it must be at least 1", o.Parts)
	}
	for _, s := range c.StringSlice("shape") {
		parsed, err := parseShape(s)
		if err != nil {
			return o, "", usagef(c, "%w", err)
		}
		o.Sizes = append(o.Sizes, export.Size(parsed))
	}
	switch scenario := c.String("scenario") != ""; {
	case len(o.Sizes) == 0 && !scenario:
		return o, "", usagef(c, "--shape is required, such as --shape 512x2048, or --scenario with --device")
	case len(o.Sizes) > 0 && scenario:
		return o, "", usagef(c, "--shape and --scenario both choose a shape; give one of them")
	case scenario != (c.String("device") != ""):
		return o, "", usagef(c, "--scenario and --device go together: a shape is chosen for what a program wants of a device")
	}
	for _, name := range c.StringSlice("host") {
		if err := enum.Check("host", name, hostfiles.Names()...); err != nil {
			return o, "", usagef(c, "--%w", err)
		}
		if !slices.Contains(o.Hosts, name) {
			o.Hosts = append(o.Hosts, name)
		}
	}
	if o.Inputs, err = lower.ParseInputs(c.String("inputs")); err != nil {
		return o, "", usagef(c, "--%w", err)
	}
	if o.Logits, err = lower.ParseLogits(c.String("logits")); err != nil {
		return o, "", usagef(c, "--%w", err)
	}
	if o.Embeddings, err = export.ParseEmbeddings(c.String("embeddings")); err != nil {
		return o, "", usagef(c, "--%w", err)
	}
	if o.Format, err = export.ParseFormat(c.String("format")); err != nil {
		return o, "", usagef(c, "--%w", err)
	}
	if o.Target, err = check.ParseTarget(c.String("target")); err != nil {
		return o, "", usagef(c, "--%w", err)
	}
	for _, s := range c.StringSlice("precision") {
		p, err := export.ParsePrecision(s)
		if err != nil {
			return o, "", usagef(c, "--%w", err)
		}
		o.Precisions = append(o.Precisions, p)
	}
	return o, c.Path("out"), nil
}

// exportDevice loads the device of a scenario, nil where there is none. Its target is the
// export's, where the command line names no other.
func exportDevice(c *cli.Context, o *export.Options) (*plan.Device, error) {
	name := c.String("device")
	if name == "" {
		return nil, nil
	}
	d, err := plan.LoadDevice(name)
	if err == nil && o.Target == check.NoTarget {
		o.Target = d.Target
	}
	return d, err
}

// schemeOf is how a model was quantized, nil if it was not.
func schemeOf(q *quant.Quantized) *quant.Scheme {
	if q == nil {
		return nil
	}
	return &q.Scheme
}

func names(sizes []export.Size) []string {
	var list []string
	for _, s := range sizes {
		list = append(list, s.String())
	}
	return list
}

// openQuantized opens the quantized model that quantFlag names, nil for none.
func openQuantized(c *cli.Context, run *runs.Run) (*quant.Quantized, error) {
	dir := c.Path("quant")
	if dir == "none" {
		return nil, nil
	}
	if dir == "" {
		var err error
		if dir, err = export.FindQuantized(run.Dir); err != nil || dir == "" {
			return nil, err
		}
	} else if _, err := os.Stat(dir); err != nil && run.Dir != "" && filepath.Base(dir) == dir {
		names, err := export.QuantizedNames(run.Dir)
		if err != nil {
			return nil, err
		}
		if err := enum.Check("quant", dir, names...); len(names) > 0 && err != nil {
			return nil, usagef(c, "--%w (or a folder)", err)
		}
		dir = filepath.Join(run.Dir, runs.QuantDir, dir)
	}
	return quant.Load(dir)
}

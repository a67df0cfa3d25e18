package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"eisft/export"
	"eisft/export/plan"
	"eisft/internal/enum"
	"eisft/model"
	"eisft/model/hf"
	"eisft/quant"
)

func planCommand() *cli.Command {
	return &cli.Command{
		Name:  "plan",
		Usage: "predict what a model would do on a device, and which shape to export",
		Description: `Lists shapes with what their weights, cache, activations and masks take, and
predicts the time to the first token and tokens a second from the figures of a device
(configs/devices) or of a file of your own. With a scenario (configs/scenarios: call-summary,
chat, document-qa, meeting-notes) it says which shape it would take, and why. Predictions are
no measurements; eisft run with --speed measures the same of exported graphs.

   eisft plan --device snapdragon-8-elite --scenario call-summary
   eisft plan --model Qwen2.5-0.5B --device apple-m4 --scheme w4-g128

With --model alone it plans for that base, of which config.json is enough, with an untrained
block; with --run, too, for the run over that base.`,
		Flags: append(runFlags(),
			&cli.StringFlag{Name: "preset", Usage: "with --model and without --run: the block `NAME`", Value: "eisft"},
			&cli.StringFlag{Name: "device", Usage: "the device `NAME` of configs/devices, or a file (required)"},
			&cli.PathFlag{Name: "measure", Usage: "measure this machine in ONNX Runtime, write what it is as a device to `FILE`, and plan for it, if a run, base, shape or scenario is named, too"},
			&cli.StringFlag{Name: "scheme", Usage: "quantize as `NAME`: none, " + enum.List(quant.SchemeNames()), Value: "w8a16", DefaultText: "w8a16; none for a device that is known in float alone"},
			&cli.StringFlag{Name: "scenario", Usage: "choose for the scenario `NAME` of configs/scenarios, or a file"},
			&cli.StringSliceFlag{Name: "shape", Usage: "look at `TxC`; may be given several times", DefaultText: "usual ones"},
			&cli.PathFlag{Name: "json", Usage: "write the plan to `FILE`"},
		),
		Action: runPlan,
	}
}

func runPlan(c *cli.Context) error {
	if err := checkFile("json", c.Path("json")); err != nil {
		return err
	}
	options, err := planOptions(c)
	if err != nil {
		return err
	}
	device, err := planDevice(c)
	if err != nil || device == nil {
		return err
	}
	if !c.IsSet("scheme") && device.Rates.FloatOnly() {
		options.Scheme = nil
	}
	m, err := planModel(c)
	if err != nil {
		return err
	}
	p, err := plan.New(m, device, options)
	if err != nil {
		return schemeAdvice(err, "choose with --scheme")
	}
	if err := p.WriteTable(c.App.Writer); err != nil || c.Path("json") == "" {
		return err
	}
	return writeJSON(c.Path("json"), p)
}

// planDevice loads the device, or measures this machine; nil if that was all that was asked for.
func planDevice(c *cli.Context) (*plan.Device, error) {
	path := c.Path("measure")
	if path == "" {
		name, err := required(c, "device")
		if err != nil {
			return nil, err
		}
		return plan.LoadDevice(name)
	}
	if c.IsSet("device") {
		return nil, usagef(c, "--measure takes this machine for the device; leave --device out")
	}
	if err := checkFile("measure", path); err != nil {
		return nil, err
	}
	d, err := plan.Measure(c.Context)
	if err == nil {
		err = d.Write(path)
	}
	if err == nil {
		err = sayMeasured(c, d, path)
	}
	for _, flag := range []string{"run", "model", "config", "shape", "scenario", "json"} {
		if c.IsSet(flag) {
			return d, err
		}
	}
	return nil, err
}

func sayMeasured(c *cli.Context, d *plan.Device, path string) error {
	_, err := fmt.Fprintf(c.App.Writer, "%s: %.3g GFLOP/s, %.3g of two activations, weights read at %.3g GB/s, %.3g G/s of a softmax, other ops %.3g GB/s (%.3g in caches) and %.2g µs each, %.2g ms a run\n",
		path, 1e3*d.Rates.Float32, 1e3*d.Ops.Products, d.Bandwidth, d.Ops.Softmax, d.Ops.Moved, d.Ops.Near, d.Ops.Each, d.Start)
	return err
}

func planOptions(c *cli.Context) (plan.Options, error) {
	o := plan.Options{}
	if name := c.String("scheme"); name != "none" {
		scheme, err := quant.ParseScheme(name)
		if err != nil {
			return o, usagef(c, "--%w", err)
		}
		o.Scheme = &scheme
	}
	for _, text := range c.StringSlice("shape") {
		s, err := parseShape(text)
		if err != nil {
			return o, usagef(c, "%w", err)
		}
		o.Sizes = append(o.Sizes, export.Size(s))
	}
	if name := c.String("scenario"); name != "" {
		var err error
		o.Scenario, err = plan.LoadScenario(name)
		return o, err
	}
	return o, nil
}

// scenarioShape takes the shape that a plan takes for a scenario on a device, and says why.
func scenarioShape(c *cli.Context, m *model.Model, device *plan.Device, scheme *quant.Scheme) (export.Size, error) {
	scenario, err := plan.LoadScenario(c.String("scenario"))
	if err != nil {
		return export.Size{}, err
	}
	p, err := plan.New(m, device, plan.Options{Scheme: scheme, Scenario: scenario})
	if err != nil {
		return export.Size{}, schemeAdvice(err, "choose with --quant, a model that eisft quantize --scheme has made or none, or name a shape with --shape")
	}
	if p.Choice == nil {
		return export.Size{}, fmt.Errorf("for %s on %s %s; look at eisft plan, and choose with --shape", scenario.Name, device.Name, p.Why)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s for %s on %s: %s\n", p.Choice.Size, scenario.Name, device.Name, p.Why)
	return p.Choice.Size, err
}

// schemeAdvice adds to a refused scheme how the command that was given chooses another.
func schemeAdvice(err error, advice string) error {
	if refused := (*plan.SchemeError)(nil); errors.As(err, &refused) {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

// planModel opens the run, or a base without its weights.
func planModel(c *cli.Context) (*model.Model, error) {
	if !c.IsSet("model") || c.IsSet("run") || c.IsSet("config") {
		run, err := openRun(c)
		if err != nil {
			return nil, err
		}
		return run.Model, nil
	}
	spec, err := model.Preset(c.String("preset"))
	if err != nil {
		return nil, usagef(c, "--%w", err)
	}
	config, err := hf.LoadConfig(c.Path("model"))
	if err != nil {
		return nil, err
	}
	base, err := model.NewBase(config, nil)
	if err != nil {
		return nil, err
	}
	return model.New(base, spec, nil)
}

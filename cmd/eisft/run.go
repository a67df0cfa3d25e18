package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"eisft/internal/atomicfile"
	"eisft/internal/progress"
	"eisft/internal/strictyaml"
	"eisft/train/config"
	"eisft/train/runs"
)

// latestRun is what commands use when no run is named.
var latestRun = filepath.Join("runs", runs.Latest)

// runFlags choose the model of a command: a trained run, or a base alone.
func runFlags() []cli.Flag {
	return []cli.Flag{
		runFlag("use"),
		modelFlag(),
		&cli.PathFlag{Name: "config", Usage: "use the untrained base of the configuration `FILE` in place of a run"},
		setFlag(),
	}
}

// runFlag names the trained run that a command works on.
func runFlag(what string) cli.Flag {
	return &cli.PathFlag{Name: "run", Usage: what + " the trained run, or the adapter alone, in `FOLDER`", Value: latestRun}
}

// modelFlag says where a run's base is, if it is not where the run says.
func modelFlag() cli.Flag {
	return &cli.PathFlag{Name: "model", Usage: "the base that the run was trained for is at `PATH`", DefaultText: "where the run says"}
}

// openFolder opens the run or adapter in a folder, beside the base that modelFlag names.
func openFolder(c *cli.Context, dir string) (*runs.Run, error) {
	base := c.Path("model")
	if dir == "" {
		return nil, usagef(c, "--run is empty; name a run's folder")
	}
	if base == "" && c.IsSet("model") {
		return nil, usagef(c, "--model is empty; name a model's folder or GGUF file")
	}
	if base != "" {
		if _, err := os.Stat(base); err != nil {
			return nil, fmt.Errorf("--model: %w", err)
		}
	}
	return wait(c.Context, func() (*runs.Run, error) { return runs.OpenOn(dir, base) })
}

// openRun opens what runFlags name, and warns of what does not fit together.
func openRun(c *cli.Context) (*runs.Run, error) {
	run, err := findRun(c)
	if err != nil {
		return nil, err
	}
	for _, w := range run.Model.Warnings() {
		warn(c, w)
	}
	warnUnfinished(c, run)
	return run, nil
}

// sweep removes what commands that were killed have left of a run, from one that writes there, too.
func sweep(run *runs.Run) {
	if run.Dir != "" { // else untrained
		runs.Sweep(run.Dir)
	}
}

// warnUnfinished says of a run that its training is not at its end.
func warnUnfinished(c *cli.Context, run *runs.Run) {
	if run.Dir == "" { // untrained
		return
	}
	if _, err := os.Stat(filepath.Join(run.Dir, runs.CheckpointFile)); err == nil {
		warn(c, fmt.Sprintf("training of %s is not finished: this uses what its last checkpoint holds; eisft train with --resume goes on", run.Dir))
	}
}

// warn writes a warning.
func warn(c *cli.Context, message string) {
	progress.Println(c.App.ErrWriter, "eisft: warning: "+message)
}

func findRun(c *cli.Context) (*runs.Run, error) {
	if !c.IsSet("config") {
		if c.IsSet("set") {
			return nil, usagef(c, "--set changes a configuration; name one with --config")
		}
		return openFolder(c, c.Path("run"))
	}
	if c.IsSet("run") {
		return nil, usagef(c, "--run and --config exclude each other: a run has its own configuration")
	}
	if c.IsSet("model") {
		return nil, usagef(c, "--model is for a run; a configuration names its base as model.path: --set model.path=%s", c.Path("model"))
	}
	cfg, err := loadConfig(c, c.Path("config"))
	if err != nil {
		return nil, err
	}
	return wait(c.Context, func() (*runs.Run, error) { return runs.OpenUntrained(cfg) })
}

// settings are what a flag that may be given several times puts over a configuration.
type settings []strictyaml.Setting

// Set implements [cli.Generic].
func (s *settings) Set(text string) error {
	setting, err := strictyaml.ParseSetting(text, "--set")
	*s = append(*s, setting)
	return err
}

// String implements [cli.Generic].
func (s *settings) String() string { return "" }

func setFlag() cli.Flag {
	return &cli.GenericFlag{Name: "set", Usage: "put `KEY=VALUE` over the configuration, such as block.window=128 or stages.0.lr.gate=1e-2; may be given several times", Value: &settings{}}
}

// loadConfig reads the configuration that a command line names, with what it sets.
func loadConfig(c *cli.Context, name string) (*config.Config, error) {
	cfg, _, err := loadWritten(c, name)
	return cfg, err
}

// loadWritten is loadConfig, and says which keys were given.
func loadWritten(c *cli.Context, name string) (cfg *config.Config, written config.Written, err error) {
	path, err := config.Find(name)
	if err != nil {
		return nil, nil, err
	}
	set, _ := c.Generic("set").(*settings)
	if set == nil {
		set = &settings{}
	}
	cfg, err = wait(c.Context, func() (read *config.Config, err error) {
		read, written, err = config.LoadWritten(path, *set...)
		return read, err
	})
	return cfg, written, err
}

// checkFile finds out before the work whether the file that a flag names, if it names
// one, can be written after it.
func checkFile(flag, path string) error {
	if path == "" {
		return nil
	}
	if err := atomicfile.Check(path); err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return nil
}

// writeJSON writes v into a file, indented.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(text, '\n'))
}

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"eisft/internal/progress"
	"eisft/train/config"
	"eisft/train/runs"
)

// latestRun is what commands use when no run is named.
var latestRun = filepath.Join("runs", runs.Latest)

// runFlags choose the model of a command: a trained run, or a base alone.
func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.PathFlag{Name: "run", Usage: "use the trained run in `FOLDER`", Value: latestRun},
		&cli.PathFlag{Name: "config", Usage: "use the untrained base of the configuration `FILE` in place of a run"},
	}
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
	return run, nil
}

// warn writes a warning.
func warn(c *cli.Context, message string) {
	progress.Println(c.App.ErrWriter, "eisft: warning: "+message)
}

func findRun(c *cli.Context) (*runs.Run, error) {
	if !c.IsSet("config") {
		return runs.Open(c.Path("run"))
	}
	if c.IsSet("run") {
		return nil, usagef(c, "--run and --config exclude each other: a run has its own configuration")
	}
	cfg, err := loadConfig(c.Path("config"))
	if err != nil {
		return nil, err
	}
	return runs.OpenUntrained(cfg)
}

// loadConfig reads the configuration that a command line names.
func loadConfig(name string) (*config.Config, error) {
	path, err := config.Find(name)
	if err != nil {
		return nil, err
	}
	return config.Load(path)
}

// checkFolder finds out before the work whether the file that a flag names can
// be written after it.
func checkFolder(flag, path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	}
	if err != nil {
		return fmt.Errorf("--%s %s: %w", flag, path, err)
	}
	return nil
}

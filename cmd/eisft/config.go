package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/configs"
	"eisft/internal/atomicfile"
	"eisft/internal/relpath"
	"eisft/train/config"
)

func configCommand() *cli.Command {
	return &cli.Command{
		Name:      "config",
		Usage:     "write, show and describe training configurations",
		ArgsUsage: "COMMAND",
		Subcommands: []*cli.Command{
			{
				Name:      "init",
				Usage:     "write a configuration in which every key is explained",
				ArgsUsage: "FILE",
				Description: `Writes the commented template of a training configuration, with a model and data of
yours. A file that is there stays.

   eisft config init --model models/qwen --data chats.jsonl chats.yaml`,
				Flags: []cli.Flag{
					&cli.PathFlag{Name: "model", Usage: "train beside the base in `FOLDER`, or a .gguf file (required)"},
					&cli.PathFlag{Name: "data", Usage: "train on `FILE` (required)"},
					&cli.PathFlag{Name: "eval-data", Usage: "evaluate on `FILE`", DefaultText: "no evaluation"},
				},
				Action: initConfig,
			},
			{
				Name:      "show",
				Usage:     "print a configuration with every default filled in",
				ArgsUsage: "FILE",
				Description: `Checks a configuration and prints it as a run would be carried out by it: what the
file says, what --set puts over it, and every default. Paths are printed for a file in the
working directory.

   eisft config show configs/distill.yaml --set stages.0.steps=100`,
				Flags:  []cli.Flag{setFlag()},
				Action: showConfig,
			},
			{
				Name:  "schema",
				Usage: "print the JSON schema of configurations, for editors",
				Description: `Prints the JSON schema by which an editor completes keys and marks mistakes. With the
YAML language server, save it beside a configuration whose first line is

   # yaml-language-server: $schema=eisft.schema.json`,
				Action: func(c *cli.Context) error {
					text, err := config.JSONSchema()
					if err != nil {
						return err
					}
					_, err = c.App.Writer.Write(text)
					return err
				},
			},
		},
		Action: noCommand,
	}
}

func showConfig(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef(c, "name one configuration")
	}
	cfg, err := loadConfig(c, c.Args().First())
	if err != nil {
		return err
	}
	text, err := cfg.Text("")
	if err != nil {
		return err
	}
	_, err = c.App.Writer.Write(text)
	return err
}

func initConfig(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef(c, "name the file to write")
	}
	for _, flag := range []string{"model", "data"} {
		if _, err := required(c, flag); err != nil {
			return err
		}
	}
	file := c.Args().First()
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already; name another file", file)
	}
	for _, flag := range []string{"model", "data", "eval-data"} {
		if !c.IsSet(flag) {
			continue
		}
		if _, err := os.Stat(c.Path(flag)); err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
	}
	text, err := filledTemplate(file, c.Path("model"), c.Path("data"), c.Path("eval-data"))
	if err != nil {
		return err
	}
	if _, err := config.Parse([]byte(text), file); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(file, []byte(text)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: look at it, then eisft data preview --config %[1]s, eisft train --config %[1]s --dry-run\n", file)
	return err
}

// filledTemplate is the template as it is written to a file, with other paths. Its run is
// named after the file.
func filledTemplate(file, model, train, held string) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return "", err
	}
	_, text, _ := strings.Cut(configs.Template, "\n\n") // behind what is said of the demo
	text = "# A training configuration for eisft train --config FILE. Every key that can be set stands\n" +
		"# here; what a comment calls the default may be left out. Paths are relative to this file,\n# except for output.\n\n" + text
	replace := func(key, was, path string) {
		if err != nil {
			return
		}
		before, after, found := strings.Cut(text, key+was)
		if !found {
			err = fmt.Errorf("the template has no line %q", key+was)
			return
		}
		if path == "" {
			text = before + "# " + key + was + after
			return
		}
		var abs string
		if abs, err = filepath.Abs(path); err != nil {
			return
		}
		if path, err = relpath.From(dir, abs); err == nil {
			text = before + key + strconv.Quote(path) + after
		}
	}
	replace("name: ", "s-sft", "")
	replace("path: ", "../model/demo", model)
	replace("train: ", "../data/demo/train.parquet", train)
	replace("data: ", "../data/demo/test.parquet", held)
	return text, err
}

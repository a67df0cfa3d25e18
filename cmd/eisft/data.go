package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/data"
	"eisft/inspect"
	"eisft/train/config"
)

func dataCommand() *cli.Command {
	return &cli.Command{
		Name:  "data",
		Usage: "look at what is trained on, make what is evaluated on",
		Description: `preview shows rows as the base's chat template renders them, with what is learned marked;
stats counts their tokens, and what a limit cuts off. Both read what a configuration
trains on, or any file for a model. synth makes long texts with hidden facts, to
measure what is found again.

   eisft data preview --config configs/s-sft.yaml
   eisft data stats --model model/demo chats.jsonl`,
		Subcommands: []*cli.Command{previewCommand(), statsCommand(), synthCommand()},
		ArgsUsage:   "COMMAND",
		Action:      noCommand,
	}
}

func previewCommand() *cli.Command {
	return &cli.Command{
		Name:      "preview",
		Usage:     "show rows as they are trained on",
		ArgsUsage: "FILE",
		Description: `Shows rows of a data file as the base's chat template renders them. What is learned
is coloured, or stands in ⟦ ⟧ where the output is no terminal; ┃256┃ is the border of a
segment behind 256 tokens, and where the tail begins, which S-SFT differentiates. Beside
it stands what the template leaves out and what is beyond the limit of tokens. Columns, prompts and options
of the template are those of the configuration, and so are the rows: the first data.samples, less those
that validation.share holds out. FILE may be a pattern of names. The exit code is 1 if a row that is
shown cannot be trained on.

   eisft data preview --config configs/s-sft.yaml
   eisft data preview --model model/demo --rows 10:12 chats.jsonl`,
		Flags: append(
			dataFlags(),
			&cli.StringFlag{Name: "rows", Usage: "show rows `FROM:TO`, counted from 1, both of them included, or one row", Value: "1:5"},
			&cli.BoolFlag{Name: "full", Usage: "show long texts as a whole"},
		),
		Action: previewData,
	}
}

func statsCommand() *cli.Command {
	return &cli.Command{
		Name:      "stats",
		Usage:     "count rows as they are trained on",
		ArgsUsage: "FILE",
		Description: `Encodes all rows of a data file as training does, and prints their lengths in tokens, how
many fit into which limit, what is learned of them, how many repeat others, and what of
several files is drawn how often. FILE may be a pattern of names. The exit code is 1 if there are rows that cannot be trained on.

   eisft data stats --config configs/s-sft.yaml
   eisft data stats --model model/demo --max-tokens 4096 chats.jsonl`,
		Flags: append(
			dataFlags(),
			&cli.BoolFlag{Name: "json", Usage: "print JSON for other programs"},
		),
		Action: dataStats,
	}
}

// dataFlags choose what is trained on.
func dataFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "take what the configuration `FILE` trains on, or the named file in its place"},
		setFlag(),
		&cli.PathFlag{Name: "model", Usage: "take the model in `FOLDER`, without a configuration"},
		&cli.IntFlag{Name: "max-tokens", Usage: "the greatest length of a sample is `N` tokens; 0: any", DefaultText: configured},
	}
}

// trainedOn is the configuration that dataFlags and the argument give, and the limit of tokens.
func trainedOn(c *cli.Context) (cfg config.Config, maxTokens int, err error) {
	switch {
	case c.NArg() > 1:
		return cfg, 0, usagef(c, "name one file")
	case c.IsSet("config") && c.IsSet("model"):
		return cfg, 0, usagef(c, "--config and --model exclude each other: a configuration names its model")
	case c.IsSet("config"):
		loaded, err := loadConfig(c, c.String("config"))
		if err != nil {
			return cfg, 0, err
		}
		cfg, maxTokens = *loaded, loaded.Data.MaxTokens
	case c.IsSet("model"):
		cfg.Model = config.Model{Path: c.Path("model")}
	default:
		return cfg, 0, usagef(c, "give --config FILE or --model FOLDER: a chat template says how rows are rendered")
	}
	if c.Args().Present() {
		cfg.Data.Train = data.One(c.Args().First())
	}
	if len(cfg.Data.Train) == 0 {
		return cfg, 0, usagef(c, "name a data file")
	}
	if c.IsSet("max-tokens") {
		if maxTokens = c.Int("max-tokens"); maxTokens < 0 {
			return cfg, 0, usagef(c, "--max-tokens is %d; it must be at least 1, or 0 for any length", maxTokens)
		}
	}
	return cfg, maxTokens, nil
}

func previewData(c *cli.Context) (err error) {
	o := inspect.PreviewOptions{Full: c.Bool("full"), Color: hasColor(c.App.Writer)}
	if o.Config, o.MaxTokens, err = trainedOn(c); err != nil {
		return err
	}
	if o.From, o.To, err = parseRows(c.String("rows")); err != nil {
		return usagef(c, "--rows %w", err)
	}
	return inspect.Preview(c.Context, c.App.Writer, o)
}

func dataStats(c *cli.Context) (err error) {
	o := inspect.StatsOptions{Progress: c.App.ErrWriter}
	if o.Config, o.MaxTokens, err = trainedOn(c); err != nil {
		return err
	}
	report, err := inspect.Stats(c.Context, o)
	if err != nil {
		return err
	}
	return writeReport(c, report)
}

// parseRows reads FROM:TO, either of which may be left out, or the number of one row. Rows
// count from 1, both ends included; what it returns counts from 0, without the last one.
func parseRows(s string) (from, to int, err error) {
	wrong := fmt.Errorf("is %q; want FROM:TO, such as 1:5, or the number of a row; the first is 1", s)
	number := func(s string, missing int) int {
		if s == "" {
			return missing
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			return -1
		}
		return n
	}
	first, last, isRange := strings.Cut(s, ":")
	from = number(first, 1)
	if to = from; isRange {
		to = number(last, math.MaxInt)
	}
	if s == "" || from < 1 || to < from {
		return 0, 0, wrong
	}
	return from - 1, to, nil
}

// hasColor reports a terminal whose user has not asked for none (https://no-color.org).
func hasColor(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

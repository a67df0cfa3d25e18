package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"eisft/data/synth"
	"eisft/internal/head"
	"eisft/internal/progress"
	"eisft/model/tokenizer"
)

func synthCommand() *cli.Command {
	return &cli.Command{
		Name:      "synth",
		Usage:     "make long texts with hidden facts to ask for",
		ArgsUsage: "FILE",
		Description: `Hides facts in the words of any text file and writes rows of LongBench's form to FILE
(.jsonl or .parquet): context, input, answers, and with them length, in tokens, and
depth, where in the context the fact lies. Of every kind, length and depth there are as
many rows. The same seed makes the same rows. A kind is one of RULER's:

` + kindTitles() + `
   eisft data synth --model model/demo --text book.txt --lengths 2048,8192 needles.jsonl
   eisft eval --tasks synth.yaml --data needles.jsonl`,
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "model", Usage: "count tokens as the model in `FOLDER` does"},
			&cli.PathFlag{Name: "text", Usage: "hide facts between the sentences of `FILE`"},
			&cli.StringSliceFlag{Name: "kind", Usage: "hide facts of kind `NAME`; may be given several times", Value: cli.NewStringSlice(string(synth.KindNeedle))},
			&cli.IntSliceFlag{Name: "lengths", Usage: "make rows of at most `N,…` tokens, with what a chat template adds", Value: cli.NewIntSlice(2048, 4096, 8192)},
			&cli.Float64SliceFlag{Name: "depths", Usage: "put facts at the depths `D,…`, from 0, the beginning, to 1", Value: cli.NewFloat64Slice(0, 0.25, 0.5, 0.75, 1)},
			&cli.IntFlag{Name: "count", Usage: "make `N` rows of each kind, length and depth", Value: 5},
			&cli.Uint64Flag{Name: "seed", Usage: "make other rows for another `NUMBER`"},
		},
		Action: synthesize,
	}
}

// kindTitles lists the kinds for the help, a line each.
func kindTitles() string {
	var lines strings.Builder
	for _, k := range synth.Kinds() {
		fmt.Fprintf(&lines, "   %-14s %s\n", k, k.Title())
	}
	return lines.String()
}

// maxText bounds a haystack's file in bytes.
const maxText = 256 << 20

func synthesize(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef(c, "name one file to write")
	}
	folder, err := required(c, "model")
	if err != nil {
		return err
	}
	g := synth.Grid{Seed: c.Uint64("seed"), Lengths: c.IntSlice("lengths"), Depths: c.Float64Slice("depths"), Count: c.Int("count")}
	for _, k := range c.StringSlice("kind") {
		g.Kinds = append(g.Kinds, synth.Kind(k))
	}
	if c.IsSet("text") {
		if g.Text, err = openHaystack(c.Path("text")); err != nil {
			return err
		}
	}
	if err := g.Check(); err != nil {
		if errors.Is(err, synth.ErrNoText) {
			return usagef(c, "%w; give --text FILE", err)
		}
		return usagef(c, "%w", err)
	}
	tk, err := tokenizer.Load(folder)
	if err != nil {
		return err
	}
	n, err := synth.WriteRows(c.Args().First(), g.Rows(tk))
	if err != nil {
		return err
	}
	progress.Println(c.App.ErrWriter, fmt.Sprintf("%s: %d rows", c.Args().First(), n))
	return nil
}

func openHaystack(path string) (*synth.Haystack, error) {
	text, err := head.ReadText(path, maxText)
	if err != nil {
		return nil, err
	}
	h, err := synth.NewHaystack(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

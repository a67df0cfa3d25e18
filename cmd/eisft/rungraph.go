package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"eisft/export"
	"eisft/export/host"
	"eisft/model/chat"
	"eisft/model/hf"
	"eisft/model/tokenizer"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "read and write text with exported graphs",
		Description: `Drives the graphs of an exported folder in ONNX Runtime as a phone's host does:
segment by segment through the prompt graph, token by token through the generation
graph, with the commit graph at the end of each segment. Everything it needs is in
the folder.

   eisft run --graph runs/latest/export/512x2048 --prompt-file book.txt`,
		Flags: append(
			append(answerFlags(256), promptFlags()...),
			&cli.PathFlag{Name: "graph", Usage: "run the exported graphs in `FOLDER` (required)"},
			&cli.BoolFlag{Name: "golden", Usage: "compare the graphs with the golden vectors of the folder in place of reading a prompt"},
			&cli.StringFlag{Name: "shape", Usage: "run the graphs for `TxC`; the default is the folder's first shape"},
			&cli.StringFlag{Name: "precision", Usage: "run the graphs in `NAME`: float, or the quantization scheme of the folder, which is the default where there is one"},
		),
		Action: runGraphs,
	}
}

func runGraphs(c *cli.Context) (err error) {
	dir, err := required(c, "graph")
	if err != nil {
		return err
	}
	if c.Bool("golden") {
		return replayGolden(c, dir)
	}
	reading := readingLine{w: c.App.ErrWriter}
	defer reading.end()
	options, err := answerOptions(c, 1, &reading)
	if err != nil {
		return err
	}
	prompt, err := readPrompt(c)
	if err != nil {
		return err
	}
	if dir, err = hf.Snapshot(dir); err != nil {
		return err
	}
	m, err := host.Open(dir, host.Options{Shape: c.String("shape"), Precision: c.String("precision")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	stream, err := m.NewStream()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	session, err := talkTo(c, stream, dir)
	if err != nil {
		return err
	}
	return answer(c, session, prompt, options)
}

// replayGolden runs the golden vectors of an exported folder.
func replayGolden(c *cli.Context, dir string) error {
	dir, err := hf.Snapshot(dir)
	if err != nil {
		return err
	}
	all, err := export.Replay(c.Context, dir, host.Options{Shape: c.String("shape"), Precision: c.String("precision")})
	if err != nil {
		return err
	}
	return export.WriteReplayed(c.App.Writer, all)
}

// talkTo begins a conversation with graphs, with the tokenizer that lies beside them.
func talkTo(c *cli.Context, stream *host.Stream, dir string) (*chat.Session, error) {
	config, err := hf.LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	tk, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	w, err := tk.Limit(config.VocabSize)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if w != "" {
		warn(c, w)
	}
	var template *tokenizer.Template
	if c.Bool("chat") {
		if template, err = tokenizer.LoadTemplate(dir); err != nil && !errors.Is(err, tokenizer.ErrNoTemplate) {
			return nil, err
		}
	}
	return chat.WithStream(stream, config, tk, template)
}

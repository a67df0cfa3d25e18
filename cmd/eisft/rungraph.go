package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"eisft/export"
	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/export/plan"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/model/chat"
	"eisft/model/hf"
	"eisft/model/tokenizer"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "read and write text with exported graphs",
		Description: `Drives the graphs of an exported folder in ONNX Runtime, those of TFLite files in
LiteRT (scripts/fetch-litert.sh), as a phone's host does:
segment by segment through the prompt graph, token by token through the generation
graph, with the commit graph at the end of each segment. Everything it needs is in
the folder.

   eisft run --graph runs/latest/export/512x2048 --prompt-file book.txt`,
		Flags: append(
			append(answerFlags(256), promptFlags()...),
			&cli.PathFlag{Name: "graph", Usage: "run the exported graphs in `FOLDER` (required)"},
			&cli.BoolFlag{Name: "golden", Usage: "compare the graphs with the golden vectors of the folder in place of reading a prompt"},
			&cli.BoolFlag{Name: "speed", Usage: "measure what eisft plan predicts, in place of reading a prompt: the time to the first token of long prompts, and tokens/s"},
			&cli.StringFlag{Name: "shape", Usage: "run the graphs for `TxC`; the default is the folder's first shape"},
			&cli.StringFlag{Name: "precision", Usage: "run the graphs in `NAME`: float, float16, or the quantization scheme of the folder, which is the default where there is one"},
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
	if c.Bool("speed") {
		return measureSpeed(c, dir)
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
	timed := &timedStream{Stream: stream}
	session, err := talkTo(c, timed, dir)
	if err != nil {
		return err
	}
	if err := answer(c, session, prompt, options); err != nil {
		return err
	}
	progress.Println(c.App.ErrWriter, timed.String())
	return nil
}

// timedStream measures how long reading and writing take.
type timedStream struct {
	*host.Stream
	read, written           int // tokens
	readingTime, writingFor time.Duration
}

// Read reads ids and returns the logits of what comes next: the first token is chosen from
// them.
func (s *timedStream) Read(ctx context.Context, ids []int32, done func(int)) ([]float32, error) {
	start := time.Now()
	next, err := s.Stream.Read(ctx, ids, done)
	s.read, s.readingTime = s.read+len(ids), s.readingTime+time.Since(start)
	return next, err
}

func (s *timedStream) Generate(ctx context.Context, next []float32, o model.GenerateOptions) ([]int32, error) {
	start := time.Now()
	ids, err := s.Stream.Generate(ctx, next, o)
	s.written, s.writingFor = s.written+len(ids), s.writingFor+time.Since(start)
	return ids, err
}

// String says how fast the graphs were.
func (s *timedStream) String() string {
	text := fmt.Sprintf("first token after %.2f s, for a prompt of %d tokens", s.readingTime.Seconds(), s.read)
	if s.written > 0 && s.writingFor > 0 {
		text += fmt.Sprintf("; then %.1f tokens/s, of %d", float64(s.written)/s.writingFor.Seconds(), s.written)
	}
	return text
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

// measureSpeed measures the graphs of an exported folder as eisft plan predicts them.
func measureSpeed(c *cli.Context, dir string) (err error) {
	if dir, err = hf.Snapshot(dir); err != nil {
		return err
	}
	m, err := host.Open(dir, host.Options{Shape: c.String("shape"), Precision: c.String("precision")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	lengths, segment := plan.PromptLengths, m.Shape.Segment
	line, done := progress.Start(c.App.ErrWriter, progress.Task{What: "speed", Unit: "tokens", Total: lengths[len(lengths)-1] + segment}), 0
	s, err := plan.MeasureSpeed(c.Context, m, lengths, plan.Elapsed, func(read int) {
		line.Add(read - done)
		done = read
	})
	line.End()
	if err != nil {
		return err
	}
	var first []string
	for i, n := range lengths {
		first = append(first, fmt.Sprintf("%.2g s after %s tokens", s.FirstToken[i], humanize.Comma(int64(n))))
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s, %s: first token %s; then %.3g tokens/s, measured over %d; the first prompt after loading takes %.2g s more\n",
		m.Shape.Name, m.Precision, strings.Join(first, ", "), s.Tokens, segment, s.FirstRuns)
	return err
}

// withOptions gives the template of an exported folder the options of the run.
func withOptions(template *tokenizer.Template, dir string) (*tokenizer.Template, error) {
	info, err := manifest.Read(dir)
	if err != nil || info.Text == nil {
		return template, err
	}
	var options []tokenizer.Field
	for _, name := range slices.Sorted(maps.Keys(info.Text.TemplateOptions)) {
		options = append(options, tokenizer.Field{Name: name, Value: info.Text.TemplateOptions[name]})
	}
	return template.With(options), nil
}

// talkTo begins a conversation with graphs, with the tokenizer that lies beside them.
func talkTo(c *cli.Context, stream chat.Stream, dir string) (*chat.Session, error) {
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
		if template != nil {
			if template, err = withOptions(template, dir); err != nil {
				return nil, err
			}
		}
	}
	return chat.WithStream(stream, config, tk, template)
}

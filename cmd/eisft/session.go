package main

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"eisft/eval"
	"eisft/internal/enum"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/model/chat"
)

// sessionFlags are those of the commands that write text with a run's model.
func sessionFlags(maxNewTokens int) []cli.Flag {
	return append(
		append(runFlags(), answerFlags(maxNewTokens)...),
		&cli.StringFlag{Name: "policy", Usage: "read under policy `NAME`, one of " + policyNames(), Value: string(eval.PolicyEISFT)},
		cacheFlag(),
		&cli.PathFlag{Name: "state", Usage: "go on from the state in `FILE`"},
	)
}

// cacheFlag says how keys and values of stored tokens are held.
func cacheFlag() cli.Flag {
	return &cli.StringFlag{Name: "cache", Usage: "hold keys and values of what is read as `TYPE`: " + enum.List(model.CacheTypes()), DefaultText: "block.cache of the run's configuration, or float32"}
}

// cacheOf returns the type that the flag says, or else the given one; "" where nothing is said.
func cacheOf(c *cli.Context, base *model.Base, configured model.CacheType) (model.CacheType, error) {
	if !c.IsSet("cache") {
		if configured == "" {
			return "", nil
		}
		if err := base.CheckCache(configured); err != nil {
			return "", fmt.Errorf("block.cache of the configuration: %w", err)
		}
		return configured, nil
	}
	cache := model.CacheType(c.String("cache"))
	if err := base.CheckCache(cache); err != nil {
		return "", usagef(c, "--%w", err)
	}
	return cache, nil
}

// answerFlags say how an answer is written.
func answerFlags(maxNewTokens int) []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "max-new-tokens", Usage: "cut an answer at `N` tokens", Value: maxNewTokens},
		&cli.Float64Flag{Name: "temperature", Usage: "draw from softmax(logits / `T`); 0: always the likeliest token"},
		&cli.Float64Flag{Name: "top-p", Usage: "draw only from the likeliest tokens that together have probability `P`", Value: 1},
		&cli.Uint64Flag{Name: "seed", Usage: "draw the same tokens for the same `NUMBER`"},
	}
}

// garbagePercent is how much garbage may lie beside what is in use: Go's 100
// would double the memory in the course of a long text. Reading leaves so
// little behind that collecting it early costs nothing.
const garbagePercent = 5

// openSession opens what sessionFlags name; raw asks for texts as they are,
// without the chat template.
func openSession(c *cli.Context, raw bool) (*chat.Session, error) {
	run, err := openRun(c)
	if err != nil {
		return nil, err
	}
	if folder := run.Config.Model.Quantized.Folder; folder != "" {
		warn(c, fmt.Sprintf("%s was trained beside the quantized model in %s; it reads here with the float weights", run.Dir, folder))
	}
	debug.SetGCPercent(garbagePercent)
	m, err := eval.WithPolicy(run.Model, eval.Policy(c.String("policy")))
	if err != nil {
		return nil, err
	}
	template := run.Template
	if raw {
		template = nil
	}
	path, configured := c.Path("state"), run.Config.Block.Cache
	if path != "" {
		configured = "" // a state has the type that it was saved with
	}
	cache, err := cacheOf(c, m.Base, configured)
	if err != nil {
		return nil, err
	}
	options := model.StreamOptions{Cache: cache}
	if path != "" {
		return wait(c.Context, func() (*chat.Session, error) { return chat.Open(path, m, options, run.Tokenizer, template) })
	}
	return chat.New(m, options, run.Tokenizer, template)
}

// answerOptions are what answerFlags say about an answer of at least so many
// tokens, which is written to the command's output as it comes. reading shows how far
// the question is read.
func answerOptions(c *cli.Context, least int, reading *readingLine) (chat.AnswerOptions, error) {
	if n := c.Int("max-new-tokens"); n < least {
		return chat.AnswerOptions{}, usagef(c, "--max-new-tokens is %d; it must be at least %d", n, least)
	}
	sampler, err := model.NewSampler(c.Float64("temperature"), c.Float64("top-p"), c.Uint64("seed"))
	if err != nil {
		return chat.AnswerOptions{}, usagef(c, "--%w", err)
	}
	return chat.AnswerOptions{
		MaxNewTokens: c.Int("max-new-tokens"), Sampler: sampler, Progress: reading.show,
		Text: func(piece string) error {
			_, err := io.WriteString(c.App.Writer, piece)
			return err
		},
	}, nil
}

// answer asks, and ends the answer's last line.
func answer(c *cli.Context, session *chat.Session, text string, options chat.AnswerOptions) error {
	if _, err := session.Ask(c.Context, text, options); err != nil {
		return err
	}
	_, err := io.WriteString(c.App.Writer, "\n")
	return err
}

// returnEvery is after how many tokens of a reading free memory goes back to the
// system: the runtime alone keeps a tenth more than it uses.
const returnEvery = 2048

// readingLine shows on w how far a reading is.
type readingLine struct {
	w      io.Writer
	line   *progress.Line
	before int // tokens that were read when the line was told last
}

// show is a [chat.Progress]. A reading that was read to its end leaves no line.
func (r *readingLine) show(done, total int) {
	if done == 0 {
		r.line, r.before = progress.Start(r.w, progress.Task{What: "reading", Unit: "tokens", Total: total}), 0
	}
	if done/returnEvery > r.before/returnEvery {
		debug.FreeOSMemory()
	}
	r.line.Add(done - r.before)
	if r.before = done; done == total {
		r.end()
	}
}

// end clears the line of a reading that stopped halfway.
func (r *readingLine) end() { r.line.End() }

package eval

import (
	"context"
	"errors"
	"fmt"
	"io"

	"eisft/data"
	"eisft/internal/progress"
	"eisft/model"
	"eisft/model/tokenizer"
)

// Config is an evaluation as a configuration describes it.
type Config struct {
	Data         string `yaml:"data,omitempty"` // no evaluation if empty
	data.Options `yaml:",inline"`
	Samples      int      `yaml:"samples"`        // use only the first so many; 0: all
	MaxNewTokens int      `yaml:"max_new_tokens"` // answers are cut there
	Policies     []Policy `yaml:"policies"`
}

// Announce writes to w (nil: nobody) how a configuration's data are understood. It fails
// where they cannot be opened.
func Announce(c Config, w io.Writer) error {
	source, err := data.Open(c.Data, c.Options)
	if err != nil {
		return err
	}
	source.Announce(w)
	return source.Close()
}

// Evaluate carries out a configuration's evaluation: all its policies over its
// data, read by streams with the given options. Progress receives a line a policy (nil: none).
func Evaluate(ctx context.Context, m *model.Model, tk *tokenizer.Tokenizer, tpl *tokenizer.Template, c Config, o model.StreamOptions, w io.Writer) (results []*Result, err error) {
	for _, p := range c.Policies { // not after the first ones have been measured
		if _, err := WithPolicy(m, p); err != nil {
			return nil, err
		}
	}
	source, err := data.Open(c.Data, c.Options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	samples, err := Load(source, data.NewEncoder(tk, tpl, 0), c.Samples)
	if err != nil {
		return nil, err
	}
	for _, p := range c.Policies {
		r, err := show(ctx, m, p, tk, samples, Options{MaxNewTokens: c.MaxNewTokens, Stream: o}, w)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", p, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// show is Run with a progress line.
func show(ctx context.Context, m *model.Model, p Policy, tk *tokenizer.Tokenizer, samples []Sample, o Options, w io.Writer) (*Result, error) {
	line := progress.Start(w, progress.Task{What: "eval " + string(p), Unit: "answers", Total: Questions(samples)})
	defer line.End()
	first := Metrics()[0]
	n, sum := 0, 0.0
	o.Answered = func(a Answer) {
		n, sum = n+1, sum+a.Metrics[first]
		line.Add(1)
		line.Figures("%s %.2f", first.Title(), sum/float64(n))
	}
	return Run(ctx, m, p, tk, samples, o)
}

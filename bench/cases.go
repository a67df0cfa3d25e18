package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"eisft/data"
	"eisft/export"
	"eisft/export/lower"
	"eisft/model"
	"eisft/model/graph"
	"eisft/quant"
)

// answerTokens is how many tokens at the end of a training sample are learned, and
// firstID the first id that is not a special token of the demo base.
const answerTokens, firstID = 63, 4

// logitRows bounds the logits held at once: of a vocabulary of 150,000, 256 rows take
// 150 MB.
const logitRows = 256

// decoded is how many tokens the decoding case writes: the last that fit the cache.
const decoded = 64

// workload builds the cases of a model.
type workload struct {
	model   *model.Model
	options Options
	count   counter
	engine  *graph.Engine
	ids     []int32
	logits  []float32 // of at most logitRows tokens
}

func newWorkload(m *model.Model, o Options) *workload {
	const longest = 8192
	r := rand.New(rand.NewPCG(o.Seed, 0))
	ids := make([]int32, longest)
	for i := range ids {
		ids[i] = firstID + r.Int32N(int32(m.Base.Embed.Out)-firstID)
	}
	return &workload{model: m, options: o, count: counter{m}, engine: graph.NewEngine(m, nil), ids: ids}
}

func (w *workload) cases() []benchCase {
	return []benchCase{
		w.stream(8192),
		w.stream(2048),
		w.full(2048),
		w.training("s-sft step soft 1x2048", 2048, true),
		w.training("s-sft step hard 1x2048", 2048, false),
		w.distillation(1024),
		w.decoding(),
		w.calibration(2048),
		w.export(),
	}
}

// always is a case that needs no preparation.
func always(run func(ctx context.Context) error) func(context.Context) (func(context.Context) error, error) {
	return func(context.Context) (func(context.Context) error, error) { return run, nil }
}

// stream reads n tokens and computes the logits of the last segment.
func (w *workload) stream(n int) benchCase {
	last := min(n, w.model.Spec.Segment)
	return benchCase{
		name: fmt.Sprintf("stream-forward %d", n), tokens: n, count: func() (need, error) { return w.count.forward(n, n-last, last) },
		prepare: always(func(ctx context.Context) error { return w.read(ctx, w.model, n, n-last) }),
	}
}

// full reads n tokens with full attention and computes all their logits.
func (w *workload) full(n int) benchCase {
	open := func() (*model.Model, error) {
		return model.New(w.model.Base, model.FullAttention(w.model.Spec.Segment), nil)
	}
	return benchCase{
		name: fmt.Sprintf("full-forward %d", n), tokens: n,
		count: func() (need, error) {
			m, err := open()
			if err != nil {
				return need{}, err
			}
			return counter{m}.forward(n, 0, n)
		},
		prepare: always(func(ctx context.Context) error {
			m, err := open()
			if err != nil {
				return err
			}
			return w.read(ctx, m, n, 0)
		}),
	}
}

// read streams the first n ids and computes the logits of stretches from a token on.
func (w *workload) read(ctx context.Context, m *model.Model, n, logitsFrom int) error {
	return m.NewStream(model.StreamOptions{NoRouting: true, Cache: w.options.Cache}).Feed(ctx, w.ids[:n], logitsFrom, func(_ int, hidden []float32) error {
		for rows := range slices.Chunk(hidden, logitRows*m.Base.Dims.Hidden) {
			n := len(rows) / m.Base.Dims.Hidden * m.Base.Head.Out
			w.logits = slices.Grow(w.logits[:0], n)[:n]
			m.Logits(w.logits, rows)
		}
		return nil
	})
}

// training computes the gradients of a sample whose last tokens are the answer.
func (w *workload) training(name string, n int, soft bool) benchCase {
	sample := graph.Sample{IDs: w.ids[:n], Loss: make([]bool, n)}
	for i := n - answerTokens; i < n; i++ {
		sample.Loss[i] = true
	}
	o := graph.Options{Soft: soft, Penalty: graph.Penalty{KeepWeight: 1}, TokenWeight: 1. / answerTokens, SampleWeight: 1}
	return benchCase{
		name: name, tokens: n, count: func() (need, error) { return w.count.training(n, answerTokens, soft) },
		prepare: always(func(ctx context.Context) error {
			_, err := w.engine.Backward(ctx, sample, o, w.model.Params.Zero())
			return err
		}),
	}
}

// distillation computes the gradients of attention transfer on n tokens.
func (w *workload) distillation(n int) benchCase {
	n = max(n, 4*w.model.Spec.Segment) // of which the first two segments are not compared
	return benchCase{
		name: fmt.Sprintf("distill step 1x%d", n), tokens: n, count: func() (need, error) { return w.count.distillation(n) },
		prepare: always(func(ctx context.Context) error {
			_, err := w.engine.Transfer(ctx, w.ids[:n], nil, graph.TransferOptions{Penalty: graph.Penalty{KeepWeight: 1}, Weight: 1}, w.model.Params.Zero())
			return err
		}),
	}
}

// decoding writes the last tokens that fit a cache whose slots and window are full.
func (w *workload) decoding() benchCase {
	s := w.model.Spec
	n := decoded
	if s.Segment < n {
		n = s.Segment
	}
	turns := (s.Sink + s.Window + s.Slots + s.Segment) / s.Segment // until everything is full
	read := (turns+2)*s.Segment - n
	return benchCase{
		name: "decode one by one at a full cache", tokens: n, weights: w.count.weights(),
		count: func() (need, error) { return w.count.decoding(read, n) },
		prepare: func(ctx context.Context) (func(context.Context) error, error) {
			st := w.model.NewStream(model.StreamOptions{Cache: w.options.Cache})
			next, err := st.Read(ctx, w.ids[:read], nil)
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) error {
				_, err := st.Generate(ctx, next, model.GenerateOptions{MaxNewTokens: n})
				return err
			}, nil
		},
	}
}

// calibration observes one sample for quantization, its answer token by token.
func (w *workload) calibration(n int) benchCase {
	sample := data.Encoded{Where: "benchmark", IDs: w.ids[:n], Turns: []data.Turn{{Start: n - answerTokens, End: n}}}
	samples := func(yield func(data.Encoded, error) bool) { yield(sample, nil) }
	return benchCase{
		name: fmt.Sprintf("calibrate a sample of %d", n), tokens: n, count: func() (need, error) { return w.count.forward(n, 0, 0) },
		prepare: always(func(ctx context.Context) error {
			_, err := quant.Calibrate(ctx, w.model, samples)
			return err
		}),
	}
}

// export writes the float graphs of the block's own shape.
func (w *workload) export() benchCase {
	size := export.Size{Tokens: w.model.Spec.Segment, Cache: w.model.Spec.Capacity()}
	o := export.Options{
		Sizes: []export.Size{size}, Inputs: lower.InputEmbeds, Logits: lower.LogitsAll,
		Name: "benchmark", BaseDir: w.options.BaseDir, Replace: true, NoVerify: true,
	}
	return benchCase{name: "export " + size.String(), prepare: always(func(ctx context.Context) error {
		_, _, err := export.Export(ctx, w.model, filepath.Join(w.options.Scratch, "export"), o)
		return err
	})}
}

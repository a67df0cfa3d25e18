package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"eisft/model"
	"eisft/model/kernels"
)

// TurnLoss is the negative log-likelihood of a right answer in nats, summed over its tokens.
type TurnLoss struct {
	NLL    float64
	Tokens int
}

// TurnLosses returns those of all right answers of samples. It generates nothing: it costs
// one pass over each sample.
func TurnLosses(ctx context.Context, m *model.Model, samples []Sample, o model.StreamOptions) ([]TurnLoss, error) {
	var out []TurnLoss
	for _, s := range samples {
		nll, err := readTurns(ctx, modelStream{m.NewStream(o), m}, 0, m, s, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Where, err)
		}
		for i, v := range nll {
			out = append(out, TurnLoss{v, len(s.answer(i))})
		}
	}
	return out, nil
}

// MeanLoss returns the mean negative log-likelihood of the answers' tokens, in nats, and
// their number.
func MeanLoss(losses []TurnLoss) (mean float64, tokens int) {
	sum := 0.0
	for _, l := range losses {
		sum += l.NLL
		tokens += l.Tokens
	}
	return sum / float64(tokens), tokens
}

// readTurns reads a sample with its right answers, of whose tokens the stream has read some
// already, and returns the negative log-likelihood of each. write, if not nil, is called where answer i begins,
// with a stream of its own and the logits of the answer's first token.
func readTurns(ctx context.Context, st stream, read int, m *model.Model, s Sample, write func(i int, st stream, next []float32) error) ([]float64, error) {
	at, out := read, make([]float64, len(s.Turns))
	for i, t := range s.Turns {
		next, err := st.Read(ctx, s.IDs[at:t.Start], nil)
		if err != nil {
			return nil, err
		}
		if write != nil {
			same, err := st.clone()
			if err != nil {
				return nil, err
			}
			if err := errors.Join(write(i, same, slices.Clone(next)), same.close()); err != nil {
				return nil, err
			}
		}
		if out[i], err = st.likelihood(ctx, next, s.answer(i)); err != nil {
			return nil, err
		}
		if out[i]-out[i] != 0 {
			return nil, m.NotNumbers()
		}
		at = t.End
	}
	return out, nil
}

// surprise is the negative log-likelihood of a token in nats.
func surprise(logits []float32, id int32) float64 {
	return float64(kernels.LogSumExp(logits) - logits[id])
}

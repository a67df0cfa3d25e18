package eval

import (
	"context"
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
		nll, err := readTurns(ctx, m.NewStream(o), 0, m, s, nil)
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
func readTurns(ctx context.Context, st *model.Stream, read int, m *model.Model, s Sample, write func(i int, st *model.Stream, next []float32) error) ([]float64, error) {
	at, out := read, make([]float64, len(s.Turns))
	for i, t := range s.Turns {
		next, err := st.Read(ctx, s.IDs[at:t.Start], nil)
		if err != nil {
			return nil, err
		}
		if write != nil {
			if err := write(i, st.Clone(), slices.Clone(next)); err != nil {
				return nil, err
			}
		}
		if out[i], err = likelihood(ctx, st, m.Base.Dims.Hidden, next, s.answer(i)); err != nil {
			return nil, err
		}
		if out[i]-out[i] != 0 {
			return nil, m.NotNumbers()
		}
		at = t.End
	}
	return out, nil
}

// likelihood feeds an answer and returns its negative log-likelihood; next [V]
// are the logits of its first token and are overwritten.
func likelihood(ctx context.Context, st *model.Stream, width int, next []float32, answer []int32) (float64, error) {
	sum := surprise(next, answer[0])
	err := st.Feed(ctx, answer, 0, func(first int, hidden []float32) error {
		for row := range slices.Chunk(hidden, width) {
			if first++; first == len(answer) {
				break // nothing of the answer follows its last token
			}
			st.Logits(next, row)
			sum += surprise(next, answer[first])
		}
		return nil
	})
	return sum, err
}

// surprise is the negative log-likelihood of a token in nats.
func surprise(logits []float32, id int32) float64 {
	return float64(kernels.LogSumExp(logits) - logits[id])
}

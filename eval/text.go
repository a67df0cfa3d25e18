package eval

import (
	"context"
	"fmt"

	"eisft/data"
	"eisft/internal/scratch"
	"eisft/model"
)

// TextLoss is the loss of a text's tokens.
type TextLoss struct {
	Where  string  `json:"where"`
	NLL    float64 `json:"nll"`    // summed over the tokens, in nats
	Tokens int     `json:"tokens"` // that were predicted
}

// logitRows bounds the logits held at once: 64 rows of a vocabulary of 150,000 are 38 MB.
const logitRows = 64

// Text returns the loss of every token of a text from the from-th on, each predicted from
// all before it as a stream keeps them: question and answer are text like any other. The
// first tokens of a text say more of its beginning than of the model.
func Text(ctx context.Context, m *model.Model, o model.StreamOptions, s data.Encoded, from int) (TextLoss, error) {
	loss := TextLoss{Where: s.Where}
	if len(s.IDs) <= from {
		return loss, nil
	}
	from = max(from, 1)
	st, d, vocab := m.NewStream(o), m.Base.Dims.Hidden, m.Base.Head.Out
	logits := scratch.Borrow(logitRows * vocab)
	defer scratch.Release(logits)
	err := st.Feed(ctx, s.IDs[:len(s.IDs)-1], from-1, func(first int, hidden []float32) error {
		for len(hidden) > 0 {
			rows := min(len(hidden)/d, logitRows)
			st.Logits(logits[:rows*vocab], hidden[:rows*d])
			for i := range rows {
				loss.NLL += surprise(logits[i*vocab:(i+1)*vocab], s.IDs[first+i+1])
			}
			hidden, first, loss.Tokens = hidden[rows*d:], first+rows, loss.Tokens+rows
		}
		return nil
	})
	if err != nil {
		return loss, fmt.Errorf("%s: %w", s.Where, err)
	}
	if loss.NLL-loss.NLL != 0 {
		return loss, m.NotNumbers()
	}
	return loss, nil
}

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
	// What of it the right answers are: the tokens that the text marks as those to learn.
	AnswerNLL    float64 `json:"answer_nll,omitempty"`
	AnswerTokens int     `json:"answer_tokens,omitempty"`
}

// Text returns the loss of every token of a text from the from-th on, each predicted from
// all before it as a stream keeps them: question and answer are text like any other. The
// first tokens of a text say more of its beginning than of the model.
func Text(ctx context.Context, m *model.Model, o model.StreamOptions, s data.Encoded, from int) (TextLoss, error) {
	loss := TextLoss{Where: s.Where}
	err := eachToken(ctx, m, o, s, from, func(at int, nll float64) {
		loss.NLL += nll
		loss.Tokens++
		if at < len(s.Loss) && s.Loss[at] {
			loss.AnswerNLL += nll
			loss.AnswerTokens++
		}
	})
	return loss, err
}

// eachToken calls token with the place and the loss, in nats, of every token of a text from
// the from-th on.
func eachToken(ctx context.Context, m *model.Model, o model.StreamOptions, s data.Encoded, from int, token func(at int, nll float64)) error {
	if len(s.IDs) <= from {
		return nil
	}
	from = max(from, 1)
	st, d, vocab := m.NewStream(o), m.Base.Dims.Hidden, m.Base.Head.Out
	most := m.Base.LogitRows()
	logits := scratch.Borrow(most * vocab)
	defer scratch.Release(logits)
	numbers := true
	err := st.Feed(ctx, s.IDs[:len(s.IDs)-1], from-1, func(first int, hidden []float32) error {
		for len(hidden) > 0 {
			rows := min(len(hidden)/d, most)
			st.Logits(logits[:rows*vocab], hidden[:rows*d])
			for i := range rows {
				nll := surprise(logits[i*vocab:(i+1)*vocab], s.IDs[first+i+1])
				numbers = numbers && nll-nll == 0
				token(first+i+1, nll)
			}
			hidden, first = hidden[rows*d:], first+rows
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s.Where, err)
	}
	if !numbers {
		return m.NotNumbers()
	}
	return nil
}

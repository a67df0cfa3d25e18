package train

import (
	"context"
	"slices"

	"eisft/data"
	"eisft/model"
	"eisft/model/graph"
	"eisft/train/config"
)

// distill runs a stage of kind distill on the last tokens of each sample. The loss is the
// relative error of the attention's output, averaged over the layers, or the divergence of
// the logits.
func (t *trainer) distill(ctx context.Context, s config.Distill, at position) error {
	return t.keepBase(func() error { return t.optimize(ctx, s.Kind(), s.Optimizer, at, t.transferGradients(s)) })
}

func (t *trainer) transferGradients(s config.Distill) batchGradients {
	return func(batch []data.Encoded, lossOnly bool) (sampleGradients, error) {
		n := float64(len(batch))
		o := graph.TransferOptions{Penalty: penalty(s.KeepPenalty), Weight: 1 / n, LossOnly: lossOnly}
		return func(ctx context.Context, e data.Encoded, grads *model.Params) (figures, error) {
			from := s.From(len(e.IDs))
			if s.Target == config.TargetLogits {
				r, err := t.engine.TransferLogits(ctx, e.IDs[from:], importance(e.Loss, from), o, grads)
				return figures{Loss: r.Loss, Kept: r.Kept, Tokens: len(e.IDs) - from, Layers: r.Layers}, err
			}
			r, err := t.engine.Transfer(ctx, e.IDs[from:], importance(e.Loss, from), o, grads)
			f := figures{Kept: r.Kept, Tokens: len(e.IDs) - from, Layers: r.Layers}
			for _, layer := range r.Errors {
				f.Loss += layer / (float64(len(r.Errors)) * n)
			}
			return f, err
		}, nil
	}
}

// distillOutlook: the base reads the last tokens of a sample with full attention.
func (t *trainer) distillOutlook(s config.Distill) outlook {
	o := t.stepsOutlook(s.Optimizer, t.transferGradients(s))
	o.reads = func(n int) int { return n - s.From(n) }
	o.sees = o.reads
	o.keeps = func(n int) int64 {
		if s.Target == config.TargetLogits {
			return graph.LogitsKept(t.Model, o.reads(n))
		}
		return graph.TransferKept(t.Model, o.reads(n))
	}
	return o
}

// answerImportance is how much more a token that predicts an answer, or is one,
// weighs in distillation (docs/method.md, section 5).
const answerImportance = 20

// importance weighs the tokens from `from` on: answers and what predicts them
// weigh more. A text without answers needs no weights.
func importance(loss []bool, from int) []float32 {
	if !slices.Contains(loss, true) {
		return nil
	}
	w := make([]float32, len(loss)-from)
	for i := range w {
		at := from + i
		w[i] = 1
		if loss[at] || at+1 < len(loss) && loss[at+1] {
			w[i] = answerImportance
		}
	}
	return w
}
